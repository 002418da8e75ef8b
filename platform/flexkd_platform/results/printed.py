"""A leaderboard as a person asks for it: columns, shared settings said once, and five formats."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich.cells import cell_len
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..tracking import Json, params_text
from .comparison import Group
from .latex import latex_table
from .tables import (
    Column,
    cell_text,
    leaderboard,
    setting_of,
    setting_text,
    table_columns,
    table_note,
)

LEFT = ("method", "params")


@dataclass(frozen=True)
class Leaderboard:
    """The groups of one task in the order of the rows.

    title: of the task; "" if there is one task.
    metrics: names of metrics in the groups.
    columns: names in order: SINGLE, metrics, and settings of `paths`; () for all but settings.
    paths: column → path of the setting that it shows.
    more: how many groups are not among the rows.
    """

    title: str
    groups: Sequence[Group]
    metrics: Sequence[str]
    columns: Sequence[str] = ()
    paths: Mapping[str, str] | None = None
    more: int = 0

    def text(self, format: str) -> str:
        """The table as text without wrapping, Markdown or LaTeX, with its notes."""
        header, rows, left = self._cells()
        if format == "latex":
            return latex_table(
                header, rows, left, "; ".join(filter(None, [self.title, *self.notes()]))
            )
        lines = (
            _markdown(header, rows, left) if format == "markdown" else _aligned(header, rows, left)
        )
        heading = [f"### {self.title}" if format == "markdown" else self.title, ""]
        notes = ["", *self.notes()] if self.notes() else []
        return "\n".join([*(heading if self.title else []), *lines, *notes])

    def rich(self) -> RenderableType:
        """The table for a terminal, which wraps what does not fit."""
        header, rows, left = self._cells()
        table = Table(title=self.title or None, title_justify="left")
        for place, name in enumerate(header):
            side: Literal["left", "right"] = "left" if place < left else "right"
            # A long word is broken: an ellipsis would hide a value.
            table.add_column(name, justify=side, no_wrap=place == 0, overflow="fold")
        for row in rows:
            # Text, not str: "[0.1, 0.2]" would be parsed as markup.
            table.add_row(*map(Text, row))
        return Stack(table, *map(Text, self.notes()))

    def csv_rows(self) -> list[list[str]]:
        """Header and rows of the CSV format, every number with full precision."""
        text = leaderboard(self.groups, metrics=self.metrics, format="csv")
        header, *rows = csv.reader(io.StringIO(text))
        if not self.columns:
            return [header, *rows]
        lines: list[list[str]] = [[] for _ in range(len(rows) + 1)]
        for column in self.columns:
            path = (self.paths or {}).get(column)
            if path is None:
                for place in (i for i, name in enumerate(header) if _is_of(name, column)):
                    for line, row in zip(lines, [header, *rows], strict=True):
                        line.append(row[place])
            else:
                values = [setting_of(group, path) for group in self.groups]
                cells = ["" if value is None else setting_text(value) for value in values]
                for line, cell in zip(lines, [column, *cells], strict=True):
                    line.append(cell)
        return lines

    def json_rows(self) -> list[object]:
        """The groups as in `results.json`."""
        found = json.loads(leaderboard(self.groups, metrics=self.metrics, format="json"))
        return list(found)

    def notes(self) -> list[str]:
        """The settings that all rows share, and how many rows there are more."""
        note = table_note(self.groups, self.metrics)
        shared = shared_params(self.groups)
        found = [note] if note else []
        found += [f"all rows: {params_text(shared, ', ')}"] if shared else []
        return found + ([f"{self.more:,} more groups; --limit shows more"] if self.more else [])

    def table(self) -> tuple[list[Column], list[list[str]], int]:
        """Columns, rows of text, and how many columns begin the line, aligned to the left."""
        shared = shared_params(self.groups)
        shown = [
            replace(group, params={p: v for p, v in group.params.items() if p not in shared})
            for group in self.groups
        ]
        columns = self._picked(table_columns(shown, self.metrics))
        if not any(group.params for group in shown) and not self.columns:
            columns = [column for column in columns if column.kind != "params"]
        left = next((i for i, c in enumerate(columns) if c.kind not in LEFT), len(columns))
        return columns, [[cell_text(group, column) for column in columns] for group in shown], left

    def _picked(self, columns: Sequence[Column]) -> list[Column]:
        """The columns that are asked for; all if none are."""
        if not self.columns:
            return list(columns)
        picked: list[Column] = []
        for name in self.columns:
            path = (self.paths or {}).get(name)
            if path is not None:
                picked.append(Column(name, "setting", path=path))
            else:
                picked += [column for column in columns if _name_of(column) == name]
        return picked

    def _cells(self) -> tuple[list[str], list[list[str]], int]:
        columns, rows, left = self.table()
        return [column.title for column in columns], rows, left


def printed(boards: Sequence[Leaderboard], format: str, *, by_task: bool) -> str:
    """All leaderboards in one text.

    by_task: CSV has a first column `task`, and JSON is an object with the rows of each task.
    """
    if format == "json":
        found: object = boards[0].json_rows()
        if by_task:
            found = {board.title: board.json_rows() for board in boards}
        return json.dumps(found, indent=2, ensure_ascii=False)
    if format != "csv":
        return "\n\n".join(board.text(format) for board in boards)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    header: list[str] = []
    for board in boards:
        first, *rows = board.csv_rows()
        # Tasks have different metrics: each has the header of its own columns.
        lines = [*([first] if first != header else []), *rows]
        for place, line in enumerate(lines):
            title = "task" if place == 0 and first != header else board.title
            writer.writerow([title, *line] if by_task else line)
        header = first
    return out.getvalue().removesuffix("\n")


def shared_params(groups: Sequence[Group]) -> dict[str, Json]:
    """The params that all groups have with the same value; {} for a single group."""
    if len(groups) < 2:
        return {}
    first = groups[0].params
    return {
        path: value
        for path, value in first.items()
        if all(path in group.params and group.params[path] == value for group in groups)
    }


def _name_of(column: Column) -> str:
    """What a column is called by those who ask for it."""
    return column.metric if column.kind == "mean" else column.kind


def _is_of(name: str, column: str) -> bool:
    """Whether a column of the CSV format belongs to a column of the table."""
    end = name.rpartition(" ")[2]
    of_interval = end.startswith(("ci95", "interval", "noise"))
    if column == "interval":
        return of_interval
    if column == "versus":
        return end.startswith("versus")
    if column == "n":
        return name in {"n", "pruned", "failed"}
    return name in {column, f"{column} mean", f"{column} std"} or end == column


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines with aligned columns, as wide as the content."""
    lines = [list(header), *map(list, rows)]
    widths = [max(cell_len(line[place]) for line in lines) for place in range(len(header))]
    ruled = [lines[0], ["─" * width for width in widths], *lines[1:]]
    found = []
    for line in ruled:
        cells = []
        for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(cell + space if place < left else space + cell)
        found.append("  ".join(cells).rstrip())
    return found


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    lines = [header, ["---"] * left + ["---:"] * (len(header) - left), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
