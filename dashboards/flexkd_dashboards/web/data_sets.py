"""Leaderboards of one kind of task side by side: a row for each method, a column a data set."""

from __future__ import annotations

from collections.abc import Sequence

from flexkd_platform.results import Group, Leaderboard
from flexkd_platform.results.tables import Column, cell_text, table_columns
from flexkd_platform.tracking import params_text

from .blocks import Cell, Table
from .group_cells import comparison_tone

OF_THE_DATA = ("task", "dataset", "teacher")
"""Settings that differ between data sets, as the teacher that was trained on each does."""

NOTE = (
    "mean ± std over seeds; * differs from the baseline: 3 seeds or more, p < 0.05 after Holm's "
    "correction for the comparisons of its column. Columns are not comparable with one another"
)

Row = tuple[str, str, int]
"""Method, settings, and a number that tells groups with the same ones apart."""


def data_set_tables(boards: Sequence[Leaderboard]) -> list[Table]:
    """A table for each kind of task, with the first metric of each of its data sets."""
    kinds: dict[str, list[Leaderboard]] = {}
    for board in boards:
        kind, _, _ = board.title.partition(", ")
        kinds.setdefault(kind, []).append(board)
    return [_table(kind, place, ours) for place, (kind, ours) in enumerate(kinds.items())]


def _table(kind: str, place: int, boards: Sequence[Leaderboard]) -> Table:
    rows: dict[Row, dict[int, Group]] = {}
    for column, board in enumerate(boards):
        for group in board.groups:
            rows.setdefault(_free_row(rows, group, column), {})[column] = group
    header = ["method", "params"]
    for board in boards:
        _, _, data_set = board.title.partition(", ")
        header.append(f"{data_set or kind}: {_title(board.metrics[0])}")
    cells = [
        [method, params, *(_cell(found.get(c), b.metrics[0]) for c, b in enumerate(boards))]
        for (method, params, _), found in _fullest_first(rows)
    ]
    return Table(f"data-sets-{place + 1}", kind, header, cells, 2, NOTE)


def _title(metric: str) -> str:
    """The title of the metric's column in other leaderboards, which has its unit."""
    return next(c.title for c in table_columns((), [metric]) if c.kind == "mean")


def _fullest_first(rows: dict[Row, dict[int, Group]]) -> list[tuple[Row, dict[int, Group]]]:
    """Rows with more data sets first, and otherwise in the order of the rankings."""
    return sorted(rows.items(), key=lambda row: -len(row[1]))


def _free_row(rows: dict[Row, dict[int, Group]], group: Group, column: int) -> Row:
    """The first row with the group's method and settings that has nothing in the column yet."""
    params = {path: value for path, value in group.params.items() if not _is_of_data(path)}
    number = 0
    while column in rows.get((group.method, params_text(params, ", "), number), {}):
        number += 1
    return group.method, params_text(params, ", "), number


def _is_of_data(path: str) -> bool:
    return path.partition(".")[0] in OF_THE_DATA


def _cell(group: Group | None, metric: str) -> Cell | str:
    if group is None:
        return "–"
    versus = (group.versus or {}).get(metric)
    tone = comparison_tone(metric, versus)
    text = cell_text(group, Column(metric, "mean", metric))
    return Cell(f"{text} *" if tone else text, tone=tone)
