"""The warm_up step: a student fine-tuned before distillation."""

from __future__ import annotations

from ..step_kind import StepKind
from .evaluate import metrics_line

KIND = StepKind("warm_up", 1, "student warm-up", "task", metrics_line)
