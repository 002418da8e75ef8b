"""The progress of a step: yielded by steps, forwarded by executors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .records import StepMetrics


@dataclass(frozen=True)
class Progress:
    """The progress of a step: `done` of `total` units of work, and the metrics of the last one.

    tokens: that the model was trained on, without padding; 0 where they are not counted.
    system: the use of the machine, `system/…` → value; empty for most steps.
    """

    done: int
    total: int
    examples: int = 0
    metrics: StepMetrics | None = None
    tokens: int = 0
    system: Mapping[str, float] = field(default_factory=dict)
