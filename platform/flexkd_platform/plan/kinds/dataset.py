"""The dataset step: splits read from their source once, stored as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..step_kind import StepKind


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """The rows of each split."""
    return ", ".join(_rows(split, profile) for split, profile in summary.items())


def _rows(split: str, profile: Mapping[str, Any]) -> str:
    skipped = f" ({profile['skipped']:,} empty ones skipped)" if profile.get("skipped") else ""
    return f"{split} {profile['rows']:,}{skipped}"


KIND = StepKind("dataset", 2, "data set", "driver", _summary_line)
