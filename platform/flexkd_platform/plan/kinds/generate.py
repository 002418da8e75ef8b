"""The generate step: the teacher's responses to the training prompts, for SeqKD."""

from __future__ import annotations

from ..step_kind import StepKind

KIND = StepKind("generate", 1, "teacher responses", "pass")
