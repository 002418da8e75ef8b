"""The cache step: the teacher signal on every training example, for offline distillation."""

from __future__ import annotations

from ..step_kind import StepKind

KIND = StepKind("cache", 3, "teacher cache", "pass")
