"""Jobs: an overview of all jobs in the storage."""

from __future__ import annotations

from ..blocks import Note, Table
from ..page import Page, View
from ..query import Query
from ..sources import Sources


def build(sources: Sources, query: Query) -> View:
    """One row a job."""
    ids = sources.job_ids()
    if not ids:
        return View("Jobs", [Note("The storage has no jobs yet: run one with flexkd run.")])
    return View("Jobs", [Table("jobs", "Jobs", ["job"], [[job_id] for job_id in ids])])


JOBS = Page("jobs", "Jobs", build)
