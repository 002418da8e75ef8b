"""The pages of the app: one file each, and one line in this table."""

from __future__ import annotations

from ..page import Page, by_path
from .errors import ERRORS
from .jobs import JOBS
from .leaderboard import LEADERBOARD
from .pareto import PARETO
from .representations import REPRESENTATIONS
from .selection import SELECTION

PAGES: dict[str, Page] = by_path([LEADERBOARD, PARETO, SELECTION, REPRESENTATIONS, ERRORS, JOBS])
"""Path → page, in the order of the navigation; the first one is the start page."""
