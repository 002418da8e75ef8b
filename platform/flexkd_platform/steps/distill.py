"""Publishes a student, trained by one method with one seed."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts
from ..plan import DistillConfig
from ..tracking import Progress
from .context import Output, RunContext
from .student_training import train_student


def run(
    config: DistillConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Train the student; see `train_student`."""
    return train_student(config, inputs, out, context)
