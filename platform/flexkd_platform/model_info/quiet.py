"""Loading without load reports and progress bars on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, transformers and the hub print only errors; their settings are restored on exit.

    Callers check themselves what the load report would have shown. If transformers is not imported,
    it prints nothing, and it is not imported for this.
    """
    hub_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        if "transformers" not in sys.modules:
            yield
            return
        from transformers.utils import logging

        verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if bars:
                logging.enable_progress_bar()
    finally:
        # Transformers' switch also sets the hub's, which may have been different.
        (enable_progress_bars if hub_bars else disable_progress_bars)()
