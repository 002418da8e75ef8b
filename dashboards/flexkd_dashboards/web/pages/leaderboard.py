"""Leaderboard: methods and settings, ranked within each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flexkd_platform.results import (
    Leaderboard,
    leaderboards,
    metric_problems,
    recorded_metrics,
)
from flexkd_platform.results import (
    View as Order,
)
from flexkd_platform.spec import METHODS, Problem, SpecError, counted, did_you_mean
from flexkd_platform.tracking import Names, TrialRecord

from ..blocks import Block, Cell, Note, Sort, Table
from ..data_sets import data_set_tables
from ..forms import Checks, Field, Form, Select, Text
from ..group_cells import falls, group_link, tone
from ..page import Page, View
from ..query import Query
from ..selection import (
    key_of,
    problem_notes,
    selected,
    selection_fields,
    stale_notes,
)
from ..sources import Sources, Trials

TITLE = "Leaderboard"
BASELINE = "ft"
NO_BASELINE = "none"
OPTIONS = ("metric", "baseline", "sort")
LAYOUTS = {"": "metrics", "data-sets": "data sets"}
EMPTY = "No trial has finished yet: run a job with flexkd run. The jobs page shows running ones."


def build(sources: Sources, query: Query) -> View:
    """A table for each task, or one for each kind of task with its data sets as columns."""
    if not sources.has_tracking:
        text = (
            "The dashboard was started without a tracking store; the jobs page compares each job."
        )
        return View(TITLE, [Note(text)])
    trials = sources.trials()
    if not any(trial.finished for trial in trials.records):
        return View(TITLE, [*stale_notes(trials), Note(EMPTY)])
    top: list[Block] = [_form(trials), *stale_notes(trials)]
    try:
        boards = sources.remembered(trials, key_of(query, OPTIONS), lambda: _boards(trials, query))
    except SpecError as error:
        return View(TITLE, [*top, *problem_notes(error.problems)], status=400)
    if not boards:
        return View(TITLE, [*top, Note("No finished trial matches: ask for less.")])
    if query.text("columns") == "data-sets":
        return View(TITLE, [*top, *data_set_tables(_searched(boards, query))], _lead(boards))
    tables = [_table(board, place, query) for place, board in enumerate(_searched(boards, query))]
    return View(TITLE, [*top, *tables], _lead(boards))


LEADERBOARD = Page("leaderboard", TITLE, build)


def _form(trials: Trials) -> Form:
    metrics = recorded_metrics(trials.records)
    methods = dict.fromkeys(t.method for t in trials.records if t.finished)
    baselines = {NO_BASELINE: "none", BASELINE: BASELINE, **{m: m for m in sorted(methods)}}
    fields: list[Field] = [
        *selection_fields(trials),
        Checks("metric", "Metrics", {name: name for name in metrics}, none="of the task"),
        Select("baseline", "Baseline", baselines, BASELINE),
        Select("columns", "Columns", LAYOUTS),
        Text("find", "Find in the rows", "search"),
    ]
    return Form(fields, kept=("sort",))


def _boards(trials: Trials, query: Query) -> list[Leaderboard]:
    """A leaderboard for each task, all rows.

    Raises:
        SpecError: what is asked for does not exist.
    """
    records, kept = selected(trials, query)
    finished = [trial for trial in records if trial.finished]
    if not finished:
        return []
    order, asked = Order(sort=query.text("sort"), by="task"), query.all("metric")
    baseline = query.text("baseline") or BASELINE
    problems = [*_baseline_problems(baseline), *_name_problems(order, asked, finished)]
    if problems:
        raise SpecError(problems)
    return leaderboards(
        records,
        order,
        asked=asked,
        baseline=None if baseline == NO_BASELINE else baseline,
        kept=kept,
        most=1,
    )


def _name_problems(
    order: Order, asked: Sequence[str], finished: Sequence[TrialRecord]
) -> list[Problem]:
    recorded = recorded_metrics(finished)
    found = order.name_problems(Names(finished), recorded) if order.sort else []
    return [*metric_problems(asked, recorded), *found]


def _baseline_problems(baseline: str) -> list[Problem]:
    known = (*METHODS, NO_BASELINE)
    if baseline in known:
        return []
    remedy = did_you_mean(baseline, known) + ", ".join(known)
    return [Problem("baseline", f"unknown method {baseline!r}", remedy)]


def _searched(boards: Sequence[Leaderboard], query: Query) -> list[Leaderboard]:
    """The boards with the rows that have all words; p stays corrected for all comparisons."""
    words = query.text("find").lower().split()
    if not words:
        return list(boards)
    found = []
    for board in boards:
        _, rows, left = board.table()
        kept = [
            group
            for group, row in zip(board.groups, rows, strict=True)
            if all(word in " ".join(row[:left]).lower() for word in words)
        ]
        found.append(replace(board, groups=kept))
    return found


def _lead(boards: Sequence[Leaderboard]) -> str:
    groups = sum(len(board.groups) for board in boards)
    trials = sum(group.n for board in boards for group in board.groups)
    apart = f", in {len(boards)} tasks that are ranked apart" if len(boards) > 1 else ""
    return f"{counted(groups, 'group')} of {counted(trials, 'finished trial')}{apart}."


def _table(board: Leaderboard, place: int, query: Query) -> Table:
    columns, rows, left = board.table()
    cells = [
        [
            Cell(
                text,
                group_link(group, query) if column.kind == "method" else "",
                tone(group, column),
            )
            for column, text in zip(columns, row, strict=True)
        ]
        for group, row in zip(board.groups, rows, strict=True)
    ]
    sorts = {
        column.title: Sort(column.metric or column.kind, falls(column.metric))
        for column in columns
        if column.kind in {"mean", "method", "n"}
    }
    return Table(
        f"leaderboard-{place + 1}",
        board.title,
        [column.title for column in columns],
        cells,
        left,
        ". ".join(board.notes()),
        sorts,
        board.csv_rows,
    )
