"""Second moments of gradients and features that are summed over examples and merged.

Every example has the same weight: its rows, the counted tokens, share it. Memory is D × D, whatever
the number of examples.

Shapes: B examples, T positions, N counted rows of a batch, D units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

MomentKind = Literal["token", "example"]


@dataclass(frozen=True, eq=False)
class GradientMoment:
    """A sum of g gᵀ over examples that can be merged with others, in the data's order."""

    sum_DD: Matrix
    """Σ over examples of the mean over the rows of g gᵀ, fp64, symmetric."""
    count: int
    """How many examples are in the sum."""
    rows: int
    """How many gradients are in the sum: its rank is at most this."""

    def __post_init__(self) -> None:
        _check("gradient", self.sum_DD, self.count, self.rows)

    @classmethod
    def empty(cls, units: int) -> GradientMoment:
        """The sum over no examples, from which merging starts."""
        return cls(np.zeros((units, units)), 0, 0)

    @property
    def rank_limited(self) -> bool:
        """Whether there are fewer gradients than units: the data limit the rank."""
        return self.rows < len(self.sum_DD)

    def merge(self, other: GradientMoment) -> GradientMoment:
        """The sum over both sides' examples; `+` is the same.

        Raises:
            ValueError: the sides have different numbers of units.
        """
        _require_same("gradient", self.sum_DD, other.sum_DD)
        return GradientMoment(
            self.sum_DD + other.sum_DD, self.count + other.count, self.rows + other.rows
        )

    __add__ = merge

    def over_outputs(self, outputs: int) -> GradientMoment:
        """The mean over K outputs F of the same examples, of whose moments this is the sum."""
        return GradientMoment(self.sum_DD / outputs, self.count // outputs, self.rows)

    def mean(self) -> Matrix:
        """M = E[g gᵀ], the mean over the examples, fp64.

        Raises:
            ValueError: no example was counted.
        """
        return self.sum_DD / _counted(self.count)


@dataclass(frozen=True, eq=False)
class FeatureMoment:
    """Mean and scatter of h over examples that can be merged with others, in the data's order.

    The scatter is kept about the mean: E[h hᵀ] − μ μᵀ would lose (μ/σ)² of the precision, and with
    it the rank of a covariance of few examples.
    """

    scatter_DD: Matrix
    """Σ over examples of the mean over the rows of (h − μ)(h − μ)ᵀ, fp64, symmetric; μ is the mean
    of these examples."""
    sum_D: Vector
    """Σ over examples of the mean over the rows of h, fp64."""
    count: int
    """How many examples are in the sum."""
    rows: int
    """How many rows are in the sum."""

    def __post_init__(self) -> None:
        _check("feature", self.scatter_DD, self.count, self.rows)
        if self.sum_D.shape != self.scatter_DD.shape[:1]:
            raise ValueError(f"a sum of {self.sum_D.shape} features does not fit its moment")

    @classmethod
    def empty(cls, units: int) -> FeatureMoment:
        """The sum over no examples, from which merging starts."""
        return cls(np.zeros((units, units)), np.zeros(units), 0, 0)

    def merge(self, other: FeatureMoment) -> FeatureMoment:
        """The moment of both sides' examples; `+` is the same.

        The scatters and that of the two means, δ δᵀ n₁ n₂ / (n₁ + n₂).

        Raises:
            ValueError: the sides have different numbers of units.

        Source: Chan, Golub & LeVeque 1983, doi:10.1080/00031305.1983.10483115.
        """
        _require_same("feature", self.scatter_DD, other.scatter_DD)
        count = self.count + other.count
        scatter_DD = self.scatter_DD + other.scatter_DD
        if self.count and other.count:
            gap_D = self.mean() - other.mean()
            scatter_DD += np.outer(gap_D, gap_D) * (self.count * other.count / count)
        return FeatureMoment(scatter_DD, self.sum_D + other.sum_D, count, self.rows + other.rows)

    __add__ = merge

    def mean(self) -> Vector:
        """μ = E[h], fp64.

        Raises:
            ValueError: no example was counted.
        """
        return self.sum_D / _counted(self.count)

    def covariance(self) -> Matrix:
        """Σ = E[(h − μ)(h − μ)ᵀ], fp64, symmetric; a constant unit has exactly 0.

        Raises:
            ValueError: no example was counted.
        """
        covariance_DD = self.scatter_DD / _counted(self.count)
        # Means of a constant differ in their last bits. Features of 24 bits or less vary by more.
        dead_D = np.diagonal(covariance_DD) <= np.square(1e-12 * self.mean())
        covariance_DD[dead_D] = covariance_DD[:, dead_D] = 0
        return covariance_DD


def gradient_moment(
    gradient_BTD: Tensor, rows_BT: Tensor, kind: MomentKind = "token"
) -> GradientMoment:
    """The moment of one batch's gradients ∂F/∂h of one output.

    "token":   Σ_examples mean_t g_t g_tᵀ
    "example": Σ_examples (mean_t g_t)(mean_t g_t)ᵀ, in which tokens of opposite sign cancel; its
               rank is at most the number of examples.

    Args:
        gradient_BTD: any float dtype; computed in fp64 on its device.
        rows_BT: bool, True at the counted positions. Values at the others have no effect.
        kind: "token" or "example".

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in ("token", "example"):
        raise ValueError(f"moment {kind!r} is not one of 'token', 'example'")
    rows_ND, count = _weighted_rows(gradient_BTD, rows_BT, kind)
    return GradientMoment(_outer(rows_ND), count, len(rows_ND))


def feature_moment(hidden_BTD: Tensor, rows_BT: Tensor) -> FeatureMoment:
    """The moment of one batch's features at the counted positions.

    Args:
        hidden_BTD: any float dtype; computed in fp64 on its device.
        rows_BT: bool, True at the counted positions. Values at the others have no effect.
    """
    rows_BT = rows_BT.to(hidden_BTD.device)
    counts_B = rows_BT.sum(dim=1)
    count = int((counts_B > 0).sum())
    rows_ND = hidden_BTD[rows_BT].to(torch.float64)
    root_N1 = _row_weights(counts_B)[:, None]
    sum_D = (rows_ND * root_N1.square()).sum(dim=0)
    centred_ND = (rows_ND - sum_D / max(count, 1)) * root_N1
    return FeatureMoment(_outer(centred_ND), sum_D.cpu().numpy(), count, len(rows_ND))


def _weighted_rows(values_BTD: Tensor, rows_BT: Tensor, kind: MomentKind) -> tuple[Tensor, int]:
    """Rows in fp64 whose outer products add up to the examples' means, and how many examples."""
    rows_BT = rows_BT.to(values_BTD.device)
    counts_B = rows_BT.sum(dim=1)
    count = int((counts_B > 0).sum())
    rows_ND = values_BTD[rows_BT].to(torch.float64) * _row_weights(counts_B)[:, None]
    if kind == "token":
        return rows_ND, count
    # The weight is applied twice: a mean divides by the number of rows, not by its root.
    rows_ND = rows_ND * _row_weights(counts_B)[:, None]
    owner_N = torch.arange(len(counts_B), device=counts_B.device).repeat_interleave(counts_B)
    means_BD = rows_ND.new_zeros(len(counts_B), rows_ND.shape[1]).index_add(0, owner_N, rows_ND)
    return means_BD[counts_B > 0], count


def _row_weights(counts_B: Tensor) -> Tensor:
    """1/√(rows of the example) for every counted row, fp64."""
    weight_B = counts_B.clamp(min=1).to(torch.float64).rsqrt()
    return weight_B.repeat_interleave(counts_B)


def _outer(rows_ND: Tensor) -> Matrix:
    """rowsᵀ rows, with exactly equal halves: a library may add up the two in another order."""
    product_DD = (rows_ND.T @ rows_ND).cpu().numpy()
    symmetric_DD: Matrix = np.triu(product_DD) + np.triu(product_DD, 1).T
    return symmetric_DD


def _check(what: str, sum_DD: Matrix, count: int, rows: int) -> None:
    if sum_DD.ndim != 2 or sum_DD.shape[0] != sum_DD.shape[1] or count < 0 or rows < 0:
        raise ValueError(
            f"a {what} moment needs a square matrix and counts ≥ 0, not shape {sum_DD.shape}, "
            f"{count} examples and {rows} rows"
        )


def _require_same(what: str, sum_DD: Matrix, other_DD: Matrix) -> None:
    if sum_DD.shape != other_DD.shape:
        raise ValueError(
            f"{what} moments over {len(sum_DD)} and {len(other_DD)} units cannot be merged: they "
            "come from different layers or models"
        )


def _counted(count: int) -> int:
    if count == 0:
        raise ValueError("no example was counted: score at least one with a counted row")
    return count
