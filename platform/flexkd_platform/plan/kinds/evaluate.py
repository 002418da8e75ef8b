"""The evaluate step: a model's predictions and metrics on a split and on other sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..step_kind import StepKind


def metrics_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """Every metric."""
    return ", ".join(f"{name} {value:.4f}" for name, value in summary["metrics"].items())


KIND = StepKind("evaluate", 2, "evaluation", "task", metrics_line)
