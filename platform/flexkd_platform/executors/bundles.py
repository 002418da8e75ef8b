"""Steps of a training, sent together: each send is a round trip to the driver."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..steps import Progress

BUNDLE_SECONDS = 1.0


def bundled(steps: Iterator[Progress]) -> Iterator[list[Progress]]:
    """The steps in bundles of about a second, none empty; what failed comes after the last one."""
    bundle: list[Progress] = []
    sent = time.monotonic()
    try:
        for progress in steps:
            bundle.append(progress)
            if time.monotonic() - sent > BUNDLE_SECONDS:
                yield bundle
                bundle, sent = [], time.monotonic()
    except Exception:
        if bundle:
            yield bundle
        raise
    if bundle:
        yield bundle
