"""Functional geometry: which directions of the hidden space the teacher's output depends on.

The second moment M = E[g gᵀ] of the output's gradient g at a layer shows how many directions the
output uses (its spectrum), and how much of them a choice of units or directions keeps.

Shapes: D units, K gradients per example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flexkd_core import selection
from flexkd_core.scoring.importance import Importance

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class GradientMoment:
    """A sum of gᵀg products over examples that can be merged with others, in the data's order."""

    sum_DD: Matrix
    """Σ over examples of the mean over its K gradients of g gᵀ, fp64, symmetric."""
    count: int
    """How many examples are in the sum."""

    def __post_init__(self) -> None:
        if self.sum_DD.ndim != 2 or self.sum_DD.shape[0] != self.sum_DD.shape[1] or self.count < 0:
            raise ValueError(
                f"a gradient moment needs a square matrix and a count ≥ 0, not shape "
                f"{self.sum_DD.shape} and {self.count}"
            )

    @classmethod
    def empty(cls, units: int) -> GradientMoment:
        """The sum over no examples, from which merging starts."""
        return cls(np.zeros((units, units)), 0)

    @classmethod
    def of(cls, importance: Importance) -> GradientMoment:
        """The sum over one batch's valid examples.

        g is the example's *signed* gradient, its mean over the counted rows: where one row counts
        (a pooled position) exactly ∂F/∂h there; over many rows opposite signs cancel, unlike in
        the score, which is the mean of |∂F/∂h|.

        Raises:
            ValueError: the importance holds no gradients.
        """
        gradient_BKD = importance.gradient_BKD[importance.valid_B].cpu().numpy()
        examples, outputs, units = gradient_BKD.shape
        if outputs == 0:
            raise ValueError("functional geometry needs gradients: score with kind 'gradient'")
        rows = cls.of_rows(gradient_BKD.reshape(-1, units))
        return cls(rows.sum_DD / outputs, examples)

    @classmethod
    def of_rows(cls, gradient_ND: ArrayLike) -> GradientMoment:
        """The sum over examples with one gradient each, given as rows.

        The same rows in the same order give the same bytes, for any batches in which they were
        scored and any memory layout (on one machine, with one number of BLAS threads).

        Raises:
            ValueError: not a matrix.
        """
        gradient_ND = np.ascontiguousarray(gradient_ND, dtype=np.float64)
        if gradient_ND.ndim != 2:
            raise ValueError(f"gradients must be (examples, units), not {gradient_ND.shape}")
        return cls(gradient_ND.T @ gradient_ND, len(gradient_ND))

    def merge(self, other: GradientMoment) -> GradientMoment:
        """The sum over both sides' examples; `+` is the same.

        Raises:
            ValueError: the sides have different numbers of units.
        """
        if self.sum_DD.shape != other.sum_DD.shape:
            raise ValueError(
                f"gradient moments over {len(self.sum_DD)} and {len(other.sum_DD)} units cannot "
                "be merged: they come from different layers or models"
            )
        return GradientMoment(self.sum_DD + other.sum_DD, self.count + other.count)

    __add__ = merge

    def mean(self) -> Matrix:
        """M = E[g gᵀ], fp64.

        Raises:
            ValueError: no example was counted.
        """
        if self.count == 0:
            raise ValueError("no example was counted: score at least one with a counted row")
        return self.sum_DD / self.count


def spectrum(moment_DD: Matrix) -> Vector:
    """Eigenvalues λ of M in descending order; those below 0, due to rounding, are set to 0."""
    return np.linalg.eigvalsh(_symmetric(moment_DD))[::-1].clip(min=0)


def top_directions(moment_DD: Matrix, count: int) -> Matrix:
    """The eigenvectors U of the `count` largest eigenvalues, in that order, as columns (D, count).

    h·U is a teacher target of the student's width, without parameters, like a choice of units. An
    eigenvector's sign is arbitrary: here its entry of largest magnitude is positive.

    Raises:
        ValueError: the count is negative or more than D, or M is not a finite square matrix.
    """
    moment_DD = _symmetric(moment_DD)
    if not 0 <= count <= len(moment_DD):
        raise ValueError(f"cannot take {count} directions of a space of {len(moment_DD)} units")
    vectors_DC = np.linalg.eigh(moment_DD)[1][:, ::-1][:, :count]
    largest_C = np.abs(vectors_DC).argmax(axis=0)
    return np.ascontiguousarray(vectors_DC * np.sign(vectors_DC[largest_C, np.arange(count)]))


def participation_ratio(moment_DD: Matrix) -> float:
    """(Σλ)² / Σλ² in [1, D]: D for an isotropic M, 1 for a single direction.

    Raises:
        ValueError: M is 0, or not a finite square matrix.
    """
    values_D = _positive_spectrum(moment_DD)
    values_D = values_D / values_D[0]  # squares of small gradients' moments would underflow
    return float(values_D.sum() ** 2 / np.square(values_D).sum())


def effective_dimension(moment_DD: Matrix, *, share: float = 0.95) -> int:
    """Effective functional dimension: the smallest k whose largest λ hold `share` of Σλ.

    Raises:
        ValueError: the share is not in (0, 1], M is 0, or M is not a finite square matrix.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} must be above 0 and at most 1")
    held_D = np.cumsum(_positive_spectrum(moment_DD))
    # A tolerance of a few bits: k equal eigenvalues hold k/D, however their sum is rounded.
    return int(np.argmax(held_D >= share * held_D[-1] * (1 - 1e-12))) + 1


def kept_share(moment_DD: Matrix, units: Sequence[int]) -> float:
    """Share of Σλ = tr M that `units` keep: Σ_{i∈E} M_ii / tr M, in [0, 1].

    Raises:
        ValueError: M is 0 or not a finite square matrix; a unit is repeated or not one of the D.
    """
    return selection.kept_share(np.diagonal(_symmetric(moment_DD)), units)


def _positive_spectrum(moment_DD: Matrix) -> Vector:
    values_D = spectrum(moment_DD)
    if not values_D.any():
        raise ValueError("the gradient moment is 0: the output does not depend on the layer")
    return values_D


def _symmetric(moment_DD: Matrix) -> Matrix:
    moment_DD = np.asarray(moment_DD, dtype=np.float64)
    if moment_DD.ndim != 2 or moment_DD.shape[0] != moment_DD.shape[1]:
        raise ValueError(f"a gradient moment is a square matrix, not {moment_DD.shape}")
    if not np.isfinite(moment_DD).all():
        raise ValueError("the gradient moment is not finite: score the teacher in a wider dtype")
    return moment_DD
