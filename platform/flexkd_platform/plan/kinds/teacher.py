"""The teacher step: a pretrained model, fine-tuned on the task and evaluated on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..step_kind import StepKind


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """The size, and the ranking metric or `nll`, which is all that is taken without decoding."""
    found: Mapping[str, float] = summary["metrics"]
    split = metric.partition("/")[0] or "test"
    for name in (metric, f"{split}/nll", *found):
        if name in found:
            return f"{summary['parameters']:,} parameters, {name} {found[name]:.4f}"
    return f"{summary['parameters']:,} parameters"


KIND = StepKind("teacher", 2, "teacher", "task", _summary_line)
