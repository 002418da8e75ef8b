"""The select step: the teacher units, or directions, that a student is to match."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..step_kind import StepKind


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """How many units are selected, and their share of the total importance."""
    share = summary["kept_share"]
    return f"{summary['d_student']} of {summary['d_teacher']} units, {share:.0%} of ΣG"


KIND = StepKind("select", 2, "selection", "driver", _summary_line)
