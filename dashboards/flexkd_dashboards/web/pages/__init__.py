"""The pages of the app: one file each, and one line in this table."""

from __future__ import annotations

from ..page import Page, by_path
from .curves import CURVES
from .errors import ERRORS
from .job import JOB
from .jobs import JOBS
from .leaderboard import LEADERBOARD
from .pareto import PARETO
from .representations import REPRESENTATIONS
from .search import SEARCH
from .selection import SELECTION

PAGES: dict[str, Page] = by_path(
    [
        LEADERBOARD,
        CURVES,
        PARETO,
        SEARCH,
        SELECTION,
        REPRESENTATIONS,
        ERRORS,
        JOBS,
        JOB,
    ]
)
"""Path → page, in the order of the navigation; the first one is the start page."""
