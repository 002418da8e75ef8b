"""Leaderboard: methods and settings, ranked within each task."""

from __future__ import annotations

from flexkd_platform.results import group_trials
from flexkd_platform.results.tables import table_cells
from flexkd_platform.tracking import TrialRecord, task_label

from ..blocks import Note, Table
from ..page import Block, Page, View
from ..query import Query
from ..sources import Sources


def build(sources: Sources, query: Query) -> View:
    """A table for each task."""
    if not sources.has_tracking:
        return View("Leaderboard", [Note("There is no tracking store: see the jobs.")])
    tasks: dict[str, list[TrialRecord]] = {}
    for trial in sources.trials().records:
        tasks.setdefault(task_label(trial.settings), []).append(trial)
    blocks: list[Block] = []
    for place, (task, trials) in enumerate(sorted(tasks.items())):
        metrics = sorted({m for t in trials for m in t.metrics if m.startswith("test/")})[:1]
        groups = group_trials(trials, baseline="ft", metrics=metrics)
        header, rows, note = table_cells(groups, metrics)
        blocks.append(Table(f"leaderboard-{place + 1}", task, header, rows, 2, note or ""))
    return View("Leaderboard", blocks or [Note("No trial has finished yet.")])


LEADERBOARD = Page("leaderboard", "Leaderboard", build)
