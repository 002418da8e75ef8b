"""What planning knows of the world outside the spec, found out by the checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..spec import JobSpec


@dataclass(frozen=True)
class Facts:
    """Of one trial's spec: the data, the teacher's shape and the student's.

    Sizes are hidden units; `outputs` is the width of the head; `teacher_layer` counts from 0. A
    source is what a worker loads the model by: an absolute folder, package:NAME, or a hub model
    pinned to its commit; "" stands for what the spec says.
    """

    data_fingerprint: str
    train_rows: int
    outputs: int
    teacher_fingerprint: str
    teacher_hidden: int
    teacher_layer: int
    student_fingerprint: str
    student_hidden: int
    teacher_source: str = ""
    student_source: str = ""


class FactsOf(Protocol):
    """Finds the facts of a spec; called for every point of the axes, so it remembers."""

    def __call__(self, spec: JobSpec) -> Facts:
        """The facts of `spec`."""
        ...
