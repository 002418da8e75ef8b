"""The two columns that are wanted of a source, and the problems that name them."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Problem

NAMES_SHOWN = 12
"""Longer lists of names are cut in messages."""


@dataclass(frozen=True)
class Columns:
    """The columns that hold text and label.

    origin: file or split they are looked for in, as messages name it.
    path: of the data section in the spec, as `task.data`.
    """

    text: str
    label: str
    origin: str
    path: str

    def absent(self, there: list[str]) -> list[Problem]:
        """What is wrong with the names that are `there`."""
        problems = []
        for role, name in {"text": self.text, "label": self.label}.items():
            count = there.count(name)
            if count == 0:
                remedy = f"name one of its columns: {listed(there)}"
                message = f"{self.origin} has no column {name!r}"
                problems.append(Problem(f"{self.path}.{role}", message, remedy))
            elif count > 1:
                message = f"{self.origin} has {count} columns {name!r}"
                problems.append(Problem(f"{self.path}.{role}", message, "rename all but one"))
        if self.text == self.label:
            message = f"{self.label!r} is named as the text column too"
            problems.append(Problem(f"{self.path}.label", message, "name two different columns"))
        return problems

    def broken(self, what: str, remedy: str) -> Problem:
        """The file cannot be read: `what` continues a sentence that starts with its name."""
        return Problem(f"{self.path}.path", f"{self.origin}{what}", remedy)


def listed(names: list[str]) -> str:
    """Names in a sentence, the long ones and the long lists cut."""
    shown = ", ".join(shortened(name, 40) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def shortened(text: str, width: int = 60) -> str:
    """`text` in at most `width` characters, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
