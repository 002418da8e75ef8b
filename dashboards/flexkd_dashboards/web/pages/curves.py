"""Curves: a metric against any numeric setting, and the training curves of chosen groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flexkd_platform.results import Group, Leaderboard, leaderboards, recorded_metrics
from flexkd_platform.results import View as Order
from flexkd_platform.spec import Problem, SpecError, did_you_mean
from flexkd_platform.tracking import TrialRecord, params_text

from ..blocks import Block, Heading, Note
from ..forms import Checks, Form, Select
from ..group_cells import SHORT_KEY
from ..page import Page, View
from ..query import Query
from ..selection import key_of, problem_notes, selected, selection_fields, stale_notes
from ..setting_figure import is_number, setting_plot, short_name
from ..sources import Sources, Trials
from ..training_plots import training_blocks

TITLE = "Curves"
MOST_TASKS = 6
MOST_GROUPS = 60
"""Groups that are offered for training curves, the best ones of each task."""


def build(sources: Sources, query: Query) -> View:
    """A figure for each task, then the training curves of the groups that are chosen."""
    if not sources.has_tracking:
        return View(TITLE, [Note("The dashboard was started without a tracking store.")])
    trials = sources.trials()
    try:
        records, boards = sources.remembered(
            trials, ("curves", key_of(query, ["metric"])), lambda: selected_boards(trials, query)
        )
        axes = _axes(boards)
        path = _asked_axis(query, axes)
    except SpecError as error:
        notes = problem_notes(error.problems)
        return View(TITLE, [_form(trials, query, [], []), *notes], status=400)
    top: list[Block] = [_form(trials, query, axes, boards), *stale_notes(trials)]
    if not boards:
        return View(TITLE, [*top, Note("No finished trial matches.")])
    blocks = [*top, *_setting_blocks(boards, records, path)]
    chosen = _chosen(boards, query.all("group"))
    blocks += [Heading("Training curves"), *training_blocks(sources, records, chosen)]
    return View(TITLE, blocks)


CURVES = Page("curves", TITLE, build)


def selected_boards(trials: Trials, query: Query) -> tuple[list[TrialRecord], list[Leaderboard]]:
    """The selected trials, and their groups by task.

    Raises:
        SpecError: what is asked for does not exist.
    """
    records, kept = selected(trials, query)
    asked, recorded = query.all("metric"), recorded_metrics(records)
    unknown = [name for name in asked if name not in recorded]
    if unknown and recorded:
        remedy = did_you_mean(unknown[0], recorded) + ", ".join(recorded)
        raise SpecError([Problem("metric", f"no selected trial has {unknown[0]}", remedy)])
    order = Order(by="task")
    return records, leaderboards(records, order, asked=asked, baseline=None, kept=kept, most=1)


def _axes(boards: Sequence[Leaderboard]) -> list[str]:
    """The settings with several numbers: α, then those that jobs vary, then the others."""
    varied: dict[str, set[float]] = {}
    groups = [group for board in boards for group in board.groups]
    for of_group in (_by_path, lambda group: group.settings):
        for group in groups:
            for path, value in of_group(group).items():
                if is_number(value):
                    varied.setdefault(path, set()).add(float(value))
    axes = [path for path, values in varied.items() if len(values) > 1]
    return sorted(axes, key=lambda path: path != "method.alpha")


def _by_path(group: Group) -> Mapping[str, Any]:
    """The params by the paths of their settings."""
    return {
        f"method.{name}" if f"method.{name}" in group.settings else name: value
        for name, value in group.params.items()
    }


def _asked_axis(query: Query, axes: Sequence[str]) -> str:
    """The setting of the x axis; "" if nothing varies.

    Raises:
        SpecError: no group has it.
    """
    asked = query.text("x")
    found = next((path for path in axes if asked in (path, short_name(path))), None)
    if asked and found is None and axes:
        known = [short_name(path) for path in axes]
        remedy = did_you_mean(asked, [*known, *axes]) + ", ".join(known)
        raise SpecError([Problem("x", f"no setting {asked!r} has several numbers", remedy)])
    return found or next(iter(axes), "")


def _form(trials: Trials, query: Query, axes: Sequence[str], boards: Sequence[Leaderboard]) -> Form:
    metrics = {"": "of the task", **{m: m for m in recorded_metrics(trials.records)}}
    settings = {path: path.removeprefix("method.") for path in axes}
    groups = {
        group.key[:SHORT_KEY]: f"{group.method} {params_text(group.params)} ({board.title})"
        for board in boards
        for group in board.groups[:MOST_GROUPS]
    }
    fields = [
        *selection_fields(trials),
        Select("metric", "Metric", metrics),
        Select("x", "Against", settings, next(iter(axes), "")),
        Checks("group", "Training curves of", groups, none="none"),
    ]
    return Form(fields)


def _setting_blocks(
    boards: Sequence[Leaderboard], records: Sequence[TrialRecord], path: str
) -> list[Block]:
    if not path:
        return [Note("No setting has several numbers: there is nothing to draw against.")]
    plots: list[Block] = []
    for board in boards[:MOST_TASKS]:
        metric = board.metrics[0]
        seeds: dict[str, list[tuple[int, float]]] = {}
        for trial in records:
            if trial.finished and metric in trial.metrics:
                seeds.setdefault(trial.group, []).append((trial.seed, trial.metrics[metric]))
        name = f"curves-{len(plots) + 1}"
        plot = setting_plot(name, board.title, board.groups, seeds, path, metric)
        plots += [] if plot is None else [plot]
    if len(boards) > MOST_TASKS:
        plots.append(Note(f"{len(boards) - MOST_TASKS} more tasks: choose them above."))
    return plots or [Note("No group has this setting.")]


def _chosen(boards: Sequence[Leaderboard], keys: Sequence[str]) -> list[Group]:
    """The groups whose keys begin so."""
    return [g for board in boards for g in board.groups if g.key.startswith(tuple(keys)) and keys]
