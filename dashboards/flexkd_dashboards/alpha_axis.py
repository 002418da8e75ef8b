"""The x axis of figures against α or another number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .figure import axis

LEAST_TICK_GAP = 0.09


@dataclass(frozen=True)
class AlphaAxis:
    """The positions of α on the x axis, which is logarithmic if α spans a decade or more."""

    values: tuple[float, ...]
    """Every α, in ascending order."""
    logarithmic: bool
    """Whether positions are powers of ten."""
    low: float
    """Left end: an α, or its logarithm."""
    high: float
    """Right end, likewise."""

    @classmethod
    def over(cls, alphas: Sequence[float]) -> AlphaAxis:
        """The axis that shows all of `alphas`, with a margin on both sides."""
        values = tuple(sorted(set(alphas)))
        logarithmic = values[0] > 0 and values[-1] / values[0] >= 10
        low, high = (math.log10(v) if logarithmic else v for v in (values[0], values[-1]))
        room = 0.1 * (high - low) or 0.5 * abs(high) or 0.5
        return cls(values, logarithmic, low - room, high + room)

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the axis as values of α."""
        return (10**self.low, 10**self.high) if self.logarithmic else (self.low, self.high)

    def place(self, alpha: float, share: float) -> float:
        """α moved sideways by `share` of the axis, so that points of one α do not overlap."""
        shift = share * (self.high - self.low)
        return alpha * 10**shift if self.logarithmic else alpha + shift

    def ticks(self) -> list[float]:
        """The values of α whose labels do not overlap."""
        kept: list[float] = []
        for value in self.values:
            gap = self._position(value) - self._position(kept[-1]) if kept else math.inf
            if gap >= LEAST_TICK_GAP * (self.high - self.low):
                kept.append(value)
        return kept

    def as_layout(self, title: str = "α, weight of the feature loss") -> dict[str, Any]:
        """The Plotly axis."""
        ticks = self.ticks()
        return axis(
            title,
            type="log" if self.logarithmic else "linear",
            range=[self.low, self.high],
            tickmode="array",
            tickvals=ticks,
            ticktext=[f"{value:.3g}" for value in ticks],
        )

    def _position(self, alpha: float) -> float:
        return math.log10(alpha) if self.logarithmic else alpha
