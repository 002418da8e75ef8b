"""The progress of a step: yielded by steps, forwarded by executors."""

from __future__ import annotations

from dataclasses import dataclass

from .records import StepMetrics


@dataclass(frozen=True)
class Progress:
    """The progress of a step: `done` of `total` units of work, and the metrics of the last one."""

    done: int
    total: int
    examples: int = 0
    metrics: StepMetrics | None = None
