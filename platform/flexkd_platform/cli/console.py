"""The consoles that commands print to, and the output of problems."""

from __future__ import annotations

import json

from rich.console import Console, RenderableType
from rich.markup import escape

from ..spec import SpecError, counted

out = Console(highlight=False, soft_wrap=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


WIDE = 1000
"""Columns of output that is no terminal, such as a file: no table is wrapped."""


def print_table(table: RenderableType) -> None:
    """Print a table: fitted to a terminal, and otherwise as wide as its content."""
    console = out
    if not out.is_terminal:
        console = Console(file=out.file, width=WIDE, highlight=False, emoji=False)
    console.print(table)


def show_problems(error: SpecError, as_json: bool) -> None:
    """Print problems on stderr, and with `as_json` also as JSON on stdout."""
    if as_json:
        rows = [
            {"path": p.path, "line": p.line, "message": p.message, "remedy": p.remedy}
            for p in error.problems
        ]
        print(json.dumps({"source": error.source, "problems": rows}, ensure_ascii=False))
    count = len(error.problems)
    title = f"{error.source}: " if error.source else ""
    what = counted(count, "problem")
    err.print(f"[bold red]error[/]: {escape(title)}{what}, nothing was started")
    for problem in error.problems:
        for number, line in enumerate(str(problem).splitlines()):
            err.print(f"  {line}", style="" if number == 0 else "dim", markup=False)
