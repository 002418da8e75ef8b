"""The consoles that commands print to, and the output of problems."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape

from ..spec import SpecError, counted

out = Console(highlight=False, soft_wrap=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


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
