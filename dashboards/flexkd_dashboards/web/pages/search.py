"""Search: the points of a sweep in parallel coordinates, and which settings matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from flexkd_platform.results import Group, Leaderboard
from flexkd_platform.results.tables import Column, cell_text, setting_text
from flexkd_platform.results.versus import lower_is_better
from flexkd_platform.search import setting_importance
from flexkd_platform.spec import Problem, SpecError, did_you_mean
from flexkd_platform.tracking import Json

from ...metric_styles import style_of, title_of
from ..blocks import Block, Note, Plot, Row, Table, figures_of
from ..forms import Form, Select
from ..importance_figure import importance_figure
from ..page import Page, View
from ..parallel_figure import parallel_figure
from ..query import Query
from ..selection import key_of, problem_notes, selection_fields, stale_notes
from ..setting_figure import short_name
from ..sources import Sources, Trials
from .curves import selected_boards

TITLE = "Search"
MOST_LINES = 300
FEWEST_POINTS = 2
MOST_TASKS = 4


def build(sources: Sources, query: Query) -> View:
    """For each task, the points of one method."""
    if not sources.has_tracking:
        return View(TITLE, [Note("The dashboard was started without a tracking store.")])
    trials = sources.trials()
    try:
        _, boards = sources.remembered(
            trials, ("curves", key_of(query, ["metric"])), lambda: selected_boards(trials, query)
        )
        counts = Counter(group.method for board in boards for group in board.groups)
        methods = [method for method, _ in counts.most_common()]
        method = _asked_method(query, methods)
    except SpecError as error:
        return View(TITLE, [_form(trials, [], ""), *problem_notes(error.problems)], status=400)
    blocks: list[Block] = [_form(trials, methods, method), *stale_notes(trials)]
    for place, board in enumerate(boards[:MOST_TASKS]):
        blocks += _blocks(board, method, place + 1)
    if len(boards) > MOST_TASKS:
        blocks.append(Note(f"{len(boards) - MOST_TASKS} more tasks: choose them above."))
    if not figures_of(blocks):
        text = f"No setting of {method} varies among the finished trials that match."
        blocks.append(Note(text if boards else "No finished trial matches."))
    return View(TITLE, blocks)


SEARCH = Page("search", TITLE, build)


def _asked_method(query: Query, methods: Sequence[str]) -> str:
    """The method that is asked for; by default the one with most groups.

    Raises:
        SpecError: no selected trial has it.
    """
    asked = query.text("method")
    if asked and methods and asked not in methods:
        remedy = did_you_mean(asked, methods) + ", ".join(methods)
        raise SpecError([Problem("method", f"no selected trial has {asked!r}", remedy)])
    return asked or next(iter(methods), "")


def _form(trials: Trials, methods: Sequence[str], method: str) -> Form:
    options = {name: name for name in methods}
    return Form([*selection_fields(trials), Select("method", "Method", options, method)])


def _blocks(board: Leaderboard, method: str, place: int) -> list[Block]:
    metric = board.metrics[0]
    groups = [g for g in board.groups if g.method == method and metric in g.metrics]
    points = _varied(groups)
    if len(groups) < FEWEST_POINTS or not points:
        return []
    sign = -1.0 if lower_is_better(metric) else 1.0
    goodness = [sign * group.metrics[metric].mean for group in groups]
    title = f"{method}: {board.title}"
    blocks: list[Block] = [_parallel(groups, points, goodness, metric, title, place)]
    columns = [
        dict(zip(points, values, strict=True)) for values in zip(*points.values(), strict=True)
    ]
    shares = setting_importance(columns, goodness)
    if shares:
        blocks.append(_importance(shares, title, place))
    return blocks


def _varied(groups: Sequence[Group]) -> dict[str, list[Json]]:
    """The params that all groups have and that vary, with their values."""
    shared = [
        path
        for path in (groups[0].params if groups else {})
        if all(path in g.params for g in groups)
    ]
    found = {path: [group.params[path] for group in groups] for path in shared}
    return {p: v for p, v in found.items() if len(set(map(setting_text, v))) > 1}


def _parallel(
    groups: Sequence[Group],
    points: Mapping[str, Sequence[Json]],
    goodness: Sequence[float],
    metric: str,
    title: str,
    place: int,
) -> Plot:
    """The best `MOST_LINES` points."""
    column = Column("", "mean", metric)
    scaled = [_scaled_mean(group, metric) for group in groups[:MOST_LINES]]
    axes: dict[str, Sequence[Json]] = {short_name(p): v[:MOST_LINES] for p, v in points.items()}
    axes[title_of(metric)] = scaled
    texts = [
        ", ".join(f"{short_name(p)}={setting_text(v[row])}" for p, v in points.items())
        for row in range(len(groups))
    ]
    labels = [f"{text}: {cell_text(g, column)}" for text, g in zip(texts, groups, strict=True)]
    figure = parallel_figure(
        f"parallel-{place}", f"Points of {title}", axes, goodness[:MOST_LINES], labels[:MOST_LINES]
    )
    rows: list[Row] = [
        [*(setting_text(v[row]) for v in points.values()), str(group.n), cell_text(group, column)]
        for row, group in enumerate(groups)
    ]
    header = [*map(short_name, points), "n", title_of(metric)]
    return Plot(figure, Table(f"points-{place}", figure.title, header, rows, len(points)))


def _scaled_mean(group: Group, metric: str) -> float:
    """The mean in the printed unit."""
    return style_of(metric).scale * group.metrics[metric].mean


def _importance(shares: Mapping[str, float], title: str, place: int) -> Plot:
    figure = importance_figure(f"importance-{place}", f"Importance of settings: {title}", shares)
    rows: list[Row] = [[short_name(path), f"{100 * share:.1f}"] for path, share in shares.items()]
    table = Table(f"importance-{place}-table", figure.title, ("setting", "importance %"), rows)
    return Plot(figure, table)
