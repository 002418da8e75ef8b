"""Tables as files: CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flexkd_platform.results.latex import latex_table

if TYPE_CHECKING:
    from .blocks import Table

TABLE_FORMATS = {"csv": "CSV", "md": "Markdown", "tex": "LaTeX"}
"""The end of a file's name, and what it is called."""

MEDIA_TYPES = {"csv": "text/csv", "md": "text/markdown", "tex": "application/x-tex"}


def table_file(table: Table, end: str) -> str:
    """The content of a table's file: all rows, not only those of a page.

    Raises:
        KeyError: the end is not one of `TABLE_FORMATS`.
    """
    writers = {"csv": _csv, "md": _markdown, "tex": _latex}
    return writers[end](table)


def _csv(table: Table) -> str:
    lines = [list(table.header), *table.texts()] if table.exact is None else table.exact()
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(c.split()).replace("|", "\\|") for c in cells) + " |"

    rule = ["---"] * table.left + ["---:"] * (len(table.header) - table.left)
    return "\n".join(map(line, [table.header, rule, *table.texts()])) + "\n"


def _latex(table: Table) -> str:
    note = " ".join(f"{table.title}. {table.note}".split())
    return latex_table(table.header, table.texts(), table.left, note) + "\n"
