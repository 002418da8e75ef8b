"""Problems in a user's input: collected, and reported all at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One problem that prevents a job from starting.

    path: location in the spec, as `sweep.methods[2].alpha`; "" when it concerns the whole file.
    message: the problem, including the value that was given.
    remedy: what is allowed, or what to do.
    line: 1-based line in the spec's file; None if there is none, as for `--set`.
    """

    path: str
    message: str
    remedy: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.path} (line {self.line})" if self.line else self.path
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n    → {self.remedy}" if self.remedy else text


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`did you mean 'alpha'? ` for the known name that is closest; "" if none is close."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


class SpecError(ValueError):
    """All problems of one request. It is raised before anything is started."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        assert self.problems, "a SpecError names at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))
