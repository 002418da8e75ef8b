"""Batch the progress of a training: each send is a round trip to the driver or to tracking."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from ..tracking import Progress

BUNDLE_SECONDS = 1.0


def bundled(
    steps: Iterator[Progress], at_once: Callable[[Progress], bool] = lambda progress: False
) -> Iterator[list[Progress]]:
    """Batch steps for about a second each; no batch is empty. Errors are raised after the last one.

    at_once: whether a step must be sent before the next one runs.
    """
    bundle: list[Progress] = []
    sent = time.monotonic()
    try:
        for progress in steps:
            bundle.append(progress)
            if at_once(progress) or time.monotonic() - sent > BUNDLE_SECONDS:
                yield bundle
                bundle, sent = [], time.monotonic()
    except Exception:
        if bundle:
            yield bundle
        raise
    if bundle:
        yield bundle
