"""Jobs: a live overview of all jobs in the storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from flexkd_platform.results import JobOverview

from ..blocks import Block, Cell, Facts, Note, Row, Table
from ..forms import Form, Select, Text
from ..job_cells import (
    ago_text,
    counts_text,
    left_text,
    now_text,
    progress_cell,
    status_cell,
)
from ..job_events import last_line
from ..page import Page, View
from ..query import Query, url
from ..sources import Sources

REFRESH_SECONDS = 5
STATUSES = ("running", "waiting", "stopped", "done", "failed", "interrupted", "empty")
HEADER = ("Job", "Status", "Trials", "Ended", "Running now", "Time left", "Last event", "When")


def build(sources: Sources, query: Query) -> View:
    """A row for each job, running ones first; it updates itself."""
    jobs = sources.overviews()
    if not jobs:
        text = "The storage has no jobs yet: run one with flexkd run. It appears here by itself."
        return View("Jobs", [Note(text)], refresh=REFRESH_SECONDS)
    counts: Counter[str] = Counter(job.status for job in jobs)
    facts = {name: str(counts[name]) for name in STATUSES if counts[name]}
    shown = _asked(jobs, query)
    options = {"": "all", **{name: name for name in STATUSES}}
    form = Form([Select("status", "Status", options), Text("find", "Find a job", "search")])
    blocks: list[Block] = [Facts(dict(facts)), form, _table(shown)]
    return View("Jobs", blocks, refresh=REFRESH_SECONDS)


JOBS = Page("jobs", "Jobs", build)


def _asked(jobs: Sequence[JobOverview], query: Query) -> list[JobOverview]:
    status, words = query.text("status"), query.text("find").lower().split()
    return [
        job
        for job in jobs
        if status in {"", job.status} and all(word in job.id.lower() for word in words)
    ]


def _table(jobs: Sequence[JobOverview]) -> Table:
    rows: list[Row] = [
        [
            Cell(job.id, url(f"jobs/{job.id}")),
            status_cell(job),
            progress_cell(job),
            counts_text(job),
            now_text(job),
            left_text(job),
            last_line(job),
            ago_text(job.changed),
        ]
        for job in jobs
    ]
    return Table("jobs", "Jobs in the storage", HEADER, rows, len(HEADER))
