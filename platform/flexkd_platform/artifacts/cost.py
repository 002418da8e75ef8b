"""What it costs to use a model, as an evaluate step measured it: `cost` of its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

COST = "cost"


@dataclass(frozen=True)
class ModelCost:
    """Measured on the device of the evaluation.

    device: its name, as `NVIDIA H100` or `CPU, 2 threads`.
    parameters: of the whole model.
    weight_bytes: of its parameters and buffers, as they were in memory.
    latency_ms: wall time of a forward pass over one example of median length; the shortest of some.
    tokens: of that example.
    peak_bytes: most memory of the device that was allocated meanwhile, weights included; None on a
        CPU, which counts no memory by model.
    """

    device: str
    parameters: int
    weight_bytes: int
    latency_ms: float
    tokens: int
    peak_bytes: int | None = None


def cost_of(summary: Mapping[str, Any]) -> ModelCost | None:
    """The cost in the summary of an evaluate step; None in one of an earlier version."""
    found = summary.get(COST)
    return None if found is None else ModelCost(**found)
