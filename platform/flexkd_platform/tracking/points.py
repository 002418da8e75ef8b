"""Find the metric points that a run does not have yet."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping

from .backend import Point
from .records import StepMetrics


class Recorded:
    """The recorded points of one run. A point is identified by metric and step, not by value."""

    def __init__(self, points: Iterable[Point] = ()) -> None:
        self._seen: set[tuple[str, int]] = set()
        self._latest: dict[str, tuple[int, float]] = {}
        self._last_step = 0
        self.add(points)

    def add(self, points: Iterable[Point]) -> None:
        """Mark points as recorded."""
        for point in points:
            self._seen.add((point.key, point.step))
            if point.step >= self._latest.get(point.key, (point.step, 0.0))[0]:
                self._latest[point.key] = (point.step, point.value)
            self._last_step = max(self._last_step, point.step)

    def missing(self, rows: Iterable[StepMetrics]) -> list[Point]:
        """The points of `rows` that are not recorded yet, each once, in order.

        A resumed training repeats the steps since its checkpoint; their first values are kept.
        """
        found: dict[tuple[str, int], Point] = {}
        for row in rows:
            for key, value in row.values.items():
                if (key, row.step) not in self._seen:
                    found.setdefault((key, row.step), Point(key, row.step, float(value)))
        return list(found.values())

    def missing_finals(self, metrics: Mapping[str, float]) -> list[Point]:
        """Final metrics whose latest recorded value differs, as points at the last step."""
        return [
            Point(key, self._last_step, float(value))
            for key, value in metrics.items()
            if key not in self._latest or not same_value(self._latest[key][1], value)
        ]


def point_count(rows: Iterable[StepMetrics]) -> int:
    """The number of distinct points in `rows`."""
    return len({(key, row.step) for row in rows for key in row.values})


def same_value(left: float, right: float) -> bool:
    """Equality where NaN equals itself, and ±∞ equals the value that databases store for it."""
    if math.isnan(left) or math.isnan(right):
        return math.isnan(left) and math.isnan(right)
    return restored(left) == restored(right)


def restored(value: float) -> float:
    """Undo the clipping of ±∞ to the largest double by MLflow's SQL stores."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value
