"""The distill step: one student, trained by one method with one seed."""

from __future__ import annotations

from ..step_kind import StepKind
from .evaluate import metrics_line

KIND = StepKind("distill", 2, "distillation", "trial", metrics_line)
