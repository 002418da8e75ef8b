"""Publishes a student that is fine-tuned before distillation."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts
from ..plan import WarmUpConfig
from ..tracking import Progress
from .context import Output, RunContext
from .student_training import train_student


def run(
    config: WarmUpConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Fine-tune the student; see `train_student`."""
    return train_student(config, inputs, out, context)
