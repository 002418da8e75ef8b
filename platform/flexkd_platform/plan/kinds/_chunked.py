"""The base config of steps that pass over the training examples."""

from __future__ import annotations

from dataclasses import dataclass

from ..step import Step, StepConfig
from .dataset import DatasetConfig
from .teacher import TeacherConfig


@dataclass(frozen=True)
class Draw:
    """`samples` training examples, drawn by a hash of `seed` and their row number."""

    samples: int
    seed: int


@dataclass(frozen=True)
class ChunkedConfig(StepConfig):
    """A result of running a teacher on training examples, chunk by chunk.

    chunk: examples per chunk.
    """

    teacher: Step[TeacherConfig]
    chunk: int

    @property
    def draw(self) -> Draw | None:
        """The examples that are read; None for all."""
        return None

    @property
    def dataset(self) -> Step[DatasetConfig]:
        """The data set, which is the teacher's."""
        return self.teacher.config.dataset

    def needs(self) -> dict[str, Step]:
        """The teacher and its data set."""
        return {"teacher": self.teacher, "dataset": self.dataset}
