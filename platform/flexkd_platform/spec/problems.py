"""What a user did wrong: collected, and shown all at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that keeps a job from starting.

    path: where in the spec, as `sweep.methods[2].alpha`; "" when it concerns the whole file.
    message: what is wrong, naming what was given.
    remedy: what is allowed, or what to do.
    line: of the spec's file, from 1; None where there is none, as for `--set`.
    """

    path: str
    message: str
    remedy: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = f"{self.path} (line {self.line})" if self.line else self.path
        text = f"{place}: {self.message}" if place else self.message
        return f"{text}\n    → {self.remedy}" if self.remedy else text


class SpecError(ValueError):
    """Every problem found in one request. Nothing has been started when it is raised."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems = tuple(problems)
        self.source = source
        assert self.problems, "a SpecError names at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))
