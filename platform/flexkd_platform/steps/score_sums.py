"""The sums of a teacher pass: of the importance and of its moments, over all data and each half.

The halves are the even and the odd chunks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flexkd_core import ImportanceSum, unit_contribution

from .partial_sum import Moments, unpack

Vector = NDArray[np.float64]


@dataclass
class ScoreSums:
    """Sums over the chunks of a pass, added in their order.

    halves: the importance of each half; a half without chunks has none. moments: likewise.
    """

    importance: ImportanceSum | None = None
    halves: dict[int, ImportanceSum] = field(default_factory=dict)
    moments: dict[int, Moments] = field(default_factory=dict)

    @classmethod
    def of(cls, parts: Iterable[bytes]) -> ScoreSums:
        """The sums over partial artifacts, given in order; one is in memory at a time."""
        sums = cls()
        for part in parts:
            importance, moments = unpack(part)
            for chunk, added in importance.items():
                sums.importance = added if sums.importance is None else sums.importance + added
                half = chunk % 2
                sums.halves[half] = sums.halves[half] + added if half in sums.halves else added
            for half, added_moments in moments.items():
                if not added_moments.gradients.count:
                    continue  # no example of these chunks has a counted row
                known = sums.moments.get(half)
                sums.moments[half] = added_moments if known is None else known + added_moments
        return sums

    @property
    def all_moments(self) -> Moments | None:
        """The moments over all data."""
        if len(self.moments) == 2:
            return self.moments[0] + self.moments[1]
        return next(iter(self.moments.values()), None)

    def mean(self, *, contribution: bool) -> Vector:
        """G. contribution: each unit's share of the output's variance, which moments determine."""
        assert self.importance is not None, "a pass has at least one chunk"
        if not contribution:
            return self.importance.mean()
        moments = self.all_moments
        assert moments is not None, "contribution is computed from moments"
        return _contribution(moments)

    def half_means(self, *, contribution: bool) -> tuple[Vector, Vector] | None:
        """G of each half; None if one of them counts no example."""
        if len(self.halves) < 2 or not all(half.count for half in self.halves.values()):
            return None
        if contribution:
            return _contribution(self.moments[0]), _contribution(self.moments[1])
        return self.halves[0].mean(), self.halves[1].mean()


def _contribution(moments: Moments) -> Vector:
    return unit_contribution(moments.gradients.mean(), moments.features.covariance())
