"""The pages of the app: one file each, and one line in this table."""

from __future__ import annotations

from ..page import Page, by_path
from .curves import CURVES
from .job import JOB
from .jobs import JOBS
from .leaderboard import LEADERBOARD
from .search import SEARCH

PAGES: dict[str, Page] = by_path([LEADERBOARD, CURVES, SEARCH, JOBS, JOB])
"""Path → page, in the order of the navigation; the first one is the start page."""
