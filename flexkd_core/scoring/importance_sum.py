"""Aggregation of per-example scores into G, over batches, shards and workers (Eq. 2).

Shapes: D units.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flexkd_core.scoring.importance import Importance


@dataclass(frozen=True, eq=False)
class ImportanceSum:
    """A sum of per-example scores that can be merged with others.

    fp64 addition is not associative: merge in the order of the data (by batch, not by completion),
    and the result is the same to the last bit for any number of workers.
    """

    total_D: NDArray[np.float64]
    """Σ over examples of g(x), fp64."""
    count: int
    """How many examples are in the sum."""

    def __post_init__(self) -> None:
        if self.total_D.ndim != 1 or self.count < 0:
            raise ValueError(
                f"an importance sum needs a vector and a count ≥ 0, not shape "
                f"{self.total_D.shape} and {self.count}"
            )

    @classmethod
    def empty(cls, units: int) -> ImportanceSum:
        """The sum over no examples, from which merging starts."""
        return cls(np.zeros(units), 0)

    @classmethod
    def of(cls, importance: Importance) -> ImportanceSum:
        """The sum over one batch's valid examples."""
        # numpy sums over rows in order on one thread; torch's order depends on its thread count.
        score_BD = importance.score_BD.cpu().numpy().astype(np.float64, copy=False)
        valid_B = importance.valid_B.cpu().numpy()
        return cls(score_BD[valid_B].sum(axis=0), int(valid_B.sum()))

    def merge(self, other: ImportanceSum) -> ImportanceSum:
        """The sum over both sides' examples; `+` is the same.

        Raises:
            ValueError: the sides have different numbers of units.
        """
        if self.total_D.shape != other.total_D.shape:
            raise ValueError(
                f"importance sums over {len(self.total_D)} and {len(other.total_D)} units cannot "
                "be merged: they come from different layers or models"
            )
        return ImportanceSum(self.total_D + other.total_D, self.count + other.count)

    __add__ = merge

    def mean(self) -> NDArray[np.float64]:
        """G = (1 / count) Σ g(x), Eq. 2, fp64.

        Raises:
            ValueError: no example was counted.

        Source: Saadi & Wang 2025, arXiv:2507.10155.
        """
        if self.count == 0:
            raise ValueError("no example was counted: score at least one with a counted row")
        return self.total_D / self.count

    def digest(self) -> str:
        """`importance_digest` of G."""
        return importance_digest(self.mean())


def importance_digest(importance_D: NDArray[np.float64]) -> str:
    """SHA-256 (hex) of G as little-endian float64: equal if and only if G is bit-identical."""
    return hashlib.sha256(importance_D.astype("<f8").tobytes()).hexdigest()
