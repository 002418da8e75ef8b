"""A trial's training log as its curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flexkd_platform.tracking import StepMetrics

from .report_data import TrainingCurve


def training_curve(
    log: Sequence[StepMetrics], method: str, params: Mapping[str, Any], seed: int
) -> TrainingCurve:
    """The loss of every logged step, and every metric on validation data."""
    validation: dict[str, list[tuple[int, float]]] = {}
    for entry in log:
        for name, value in entry.values.items():
            if name.startswith("validation/"):
                validation.setdefault(name, []).append((entry.step, value))
    clipped = [e.values["train/clipped"] for e in log if "train/clipped" in e.values]
    return TrainingCurve(
        method=method,
        params=dict(params),
        seed=seed,
        steps=tuple(entry.step for entry in log),
        loss=tuple(entry.values["train/loss"] for entry in log),
        validation={name: tuple(points) for name, points in validation.items()},
        clipped=sum(clipped) / len(clipped) if clipped else None,
    )
