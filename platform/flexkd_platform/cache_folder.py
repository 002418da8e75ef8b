"""The folder of files that are computed once per machine, such as results of model checks."""

from __future__ import annotations

import os
from pathlib import Path

CACHE = "FLEXKD_CACHE"
"""Environment variable for the cache folder (default `~/.cache/flexkd`); downloads use it, too."""


def cache_folder() -> Path | None:
    """The cache folder; None for a user without a home, as in some containers."""
    if given := os.environ.get(CACHE):
        return Path(given)
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(base, "flexkd")
