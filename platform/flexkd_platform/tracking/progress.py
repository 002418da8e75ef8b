"""How far a step is: what steps yield, and executors pass on."""

from __future__ import annotations

from dataclasses import dataclass

from .records import StepMetrics


@dataclass(frozen=True)
class Progress:
    """How far a step is: `done` of `total` units of work, and the metrics of the last one."""

    done: int
    total: int
    examples: int = 0
    metrics: StepMetrics | None = None
