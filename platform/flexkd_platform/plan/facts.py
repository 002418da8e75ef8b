"""What planning knows of the world outside the spec, found out by the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..spec import JobSpec


@dataclass(frozen=True)
class Facts:
    """Of one trial's spec: the data, the teacher's shape and the student's.

    Sizes are hidden units; `outputs` is the width of the head; `teacher_layer` counts from 0.
    """

    data_fingerprint: str
    train_rows: int
    outputs: int
    teacher_fingerprint: str
    teacher_hidden: int
    teacher_layer: int
    student_fingerprint: str
    student_hidden: int


class FactsOf(Protocol):
    """Finds the facts of a spec; called for every point of the axes, so it remembers."""

    def __call__(self, spec: JobSpec) -> Facts:
        """The facts of `spec`."""
        ...
