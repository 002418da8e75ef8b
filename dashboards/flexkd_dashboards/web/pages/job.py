"""A job: its progress, results, trials, steps and last events; it updates itself while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flexkd_platform.results import JobOverview
from flexkd_platform.spec import SpecError

from ...labels import duration
from ...markup import tag
from ...tables import status_mark
from ..blocks import Block, Cell, Code, Facts, Folded, Note, Row, Table
from ..job_cells import (
    STATUS_TEXTS,
    ago_text,
    counts_text,
    left_text,
    now_text,
    progress_cell,
    status_cell,
    step_label,
)
from ..job_events import Log
from ..job_results import groups_table, trials_table
from ..jobs_chosen import links_of
from ..page import NotFoundError, Page, View
from ..query import Query, url
from ..selection import problem_notes
from ..sources import Sources

REFRESH_SECONDS = 3
NO_RESULTS = "It has no results yet: they are written when the first trial ends."


def build(sources: Sources, query: Query) -> View:
    """The page of one job."""
    job_id = query.parts["job"]
    if job_id not in sources.job_ids():
        raise NotFoundError(f"The storage has no job {job_id}; the jobs page lists those it has.")
    job = sources.overview(job_id)
    blocks: list[Block] = [_facts(job, sources.has_report(job_id))]
    if text := STATUS_TEXTS.get(job.status):
        blocks.append(Note(text))
    if job.problem:
        blocks.append(Note(f"{job.problem}.", notice=True))
    alive = job.status in {"running", "waiting"}
    results = _results(sources, job)
    blocks += [Log(job), *results] if alive else [*results, Log(job)]
    return View(job.name, blocks, job_id, refresh=REFRESH_SECONDS if alive else 0)


JOB = Page("jobs/{job}", "", build)


def _facts(job: JobOverview, has_report: bool) -> Facts:
    progress, status = progress_cell(job), status_cell(job)
    facts = {
        "Status": status.markup(),
        "Trials": progress.markup(),
        "Ended": counts_text(job),
        "Running now": now_text(job),
        "Time left": left_text(job),
        "Last event": ago_text(job.changed),
    }
    if job.holder is not None:
        facts["Run by"] = f"{job.holder.user} on {job.holder.host}"
    if has_report:
        facts["Report"] = tag("a", "open", href=url(f"jobs/{job.id}/report"))
    return Facts(facts)


def _results(sources: Sources, job: JobOverview) -> list[Block]:
    """What results.json has, or a sentence why there is nothing."""
    try:
        files = sources.job(job.id)
    except FileNotFoundError:
        return [Note(NO_RESULTS)]
    except SpecError as error:
        return list(problem_notes(error.problems))
    steps = _steps(files.results["steps"])
    return [
        links_of(job.id),
        *groups_table(files.results),
        trials_table(files.results),
        Folded(f"Steps, {len(steps.rows)}", steps),
        Folded("Spec", Code(files.spec_yaml, "Spec in YAML")),
    ]


def _steps(steps: Sequence[Mapping[str, Any]]) -> Table:
    with_reason = any(step.get("reason") for step in steps)
    rows: list[Row] = [
        [
            step_label(str(step["kind"])),
            Cell(str(step["status"]), content=status_mark(str(step["status"]))),
            str(step["hash"])[:12],
            duration(step["seconds"]),
            *([str(step.get("reason", ""))] if with_reason else []),
        ]
        for step in steps
    ]
    header = ["Step", "Status", "Hash", "Wall time", *(["Reason"] if with_reason else [])]
    return Table("steps", "Steps", header, rows, 3)
