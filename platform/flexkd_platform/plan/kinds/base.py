"""The base step: an untrained teacher made from a config."""

from __future__ import annotations

from ..step_kind import StepKind

KIND = StepKind("base", 1, "untrained teacher", "driver")
