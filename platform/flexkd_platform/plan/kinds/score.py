"""The score step: the importance of each unit of one teacher layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..step_kind import StepKind


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """Examples, the digest of G, and the effective dimension of the gradients where known."""
    dimension = summary.get("geometry", {}).get("effective_dimension")
    shown = "" if dimension is None else f", effective dimension {dimension}"
    return f"{summary['examples']:,} examples, G {summary['digest'][:12]}{shown}"


KIND = StepKind("score", 2, "scoring", "pass", _summary_line)
