"""Functional geometry: which directions of the hidden space the teacher's output depends on.

The second moment M = E[g gᵀ] of the output's gradient g at a layer shows how many directions the
output uses (its spectrum), and how much of them a choice of units or directions keeps. M alone is
sensitivity: it does not know along which directions the features vary. Against their covariance Σ
it is contribution: E[gᵀ Σ g] = tr(M Σ) is the variance of the output, to first order.

Under an invertible change of basis h → A h, M → A⁻ᵀ M A⁻¹ and Σ → A Σ Aᵀ: contribution spectra and
directions stay, those of M alone stay under rotations only.

Shapes: D units, C directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from flexkd_core import selection
from flexkd_core.moments import FeatureMoment, GradientMoment

__all__ = [
    "Directions",
    "FeatureMoment",
    "GradientMoment",
    "contribution_directions",
    "contribution_spectrum",
    "effective_dimension",
    "kept_share",
    "participation_ratio",
    "recurring_directions",
    "spectrum",
    "spectrum_dimension",
    "spectrum_participation",
    "subspace_overlap",
    "top_directions",
    "unit_contribution",
]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of a hidden space: h·U is a teacher target of C features, without parameters.

    A vector's sign is arbitrary: here its entry of largest magnitude is positive.
    """

    vectors_DC: Matrix
    """U: one direction a column, the one of largest eigenvalue first."""
    values_C: Vector
    """Their eigenvalues λ, in descending order, at least 0."""


def spectrum(moment_DD: Matrix) -> Vector:
    """Eigenvalues λ of M in descending order; those below 0, due to rounding, are set to 0."""
    return np.linalg.eigvalsh(_symmetric(moment_DD))[::-1].clip(min=0)


def top_directions(moment_DD: Matrix, count: int) -> Directions:
    """The eigenvectors of M with the `count` largest eigenvalues.

    λ is the mean squared derivative of the output along the unit vector.

    Raises:
        ValueError: the count is negative or more than D, or M is not a finite square matrix.
    """
    moment_DD = _symmetric(moment_DD)
    if not 0 <= count <= len(moment_DD):
        raise ValueError(f"cannot take {count} directions of a space of {len(moment_DD)} units")
    values_D, vectors_DD = np.linalg.eigh(moment_DD)
    values_C, vectors_DC = values_D[::-1][:count], vectors_DD[:, ::-1][:, :count]
    return Directions(_signed(vectors_DC), values_C.clip(min=0))


def contribution_directions(moment_DD: Matrix, covariance_DD: Matrix, count: int) -> Directions:
    """The solutions of M Σ w = λ w with wᵀ Σ w = 1 and the `count` largest λ.

    The feature wᵀh has variance 1, and λ is the mean squared change of the output along it: a
    direction counts by what the output changes as the data move. The features, up to their sign,
    and λ do not depend on the basis of h.

    Computed as the eigenvectors v of Σ^½ M Σ^½ and w = Σ^-½ v, on the range of Σ.

    Raises:
        ValueError: the matrices differ in shape or are not finite and square; there are not as many
            directions in which the features vary.
    """
    moment_DD, covariance_DD = _pair(moment_DD, covariance_DD)
    root_DR, inverse_DR = _roots(covariance_DD)
    rank = root_DR.shape[1]
    if not 0 <= count <= rank:
        raise ValueError(
            f"cannot take {count} directions: the features vary in {rank} only; score more "
            "examples, or use directions of the gradients alone"
        )
    values_R, vectors_RR = np.linalg.eigh(root_DR.T @ moment_DD @ root_DR)
    vectors_DC = inverse_DR @ vectors_RR[:, ::-1][:, :count]
    return Directions(_signed(vectors_DC), values_R[::-1][:count].clip(min=0))


def contribution_spectrum(moment_DD: Matrix, covariance_DD: Matrix) -> Vector:
    """Eigenvalues λ of M Σ in descending order, D of them; those below 0 are set to 0.

    Their sum is tr(M Σ) = E[gᵀ Σ g], the variance of the output to first order.

    Raises:
        ValueError: the matrices differ in shape or are not finite and square.
    """
    moment_DD, covariance_DD = _pair(moment_DD, covariance_DD)
    root_DR, _ = _roots(covariance_DD)
    values_D = np.zeros(len(root_DR))
    inner_RR = root_DR.T @ moment_DD @ root_DR
    values_D[: len(inner_RR)] = np.linalg.eigvalsh(inner_RR)[::-1].clip(min=0)
    return values_D


def unit_contribution(moment_DD: Matrix, covariance_DD: Matrix) -> Vector:
    """c_i = (M Σ)_ii = E[g_i (Σ g)_i], the covariance of unit i's share g_i h_i with the output.

    The shares add up to tr(M Σ), the variance of the output to first order. A unit that cancels
    others has a negative share. Scaling a unit does not change it; a rotation does.

    Raises:
        ValueError: the matrices differ in shape or are not finite and square.
    """
    moment_DD, covariance_DD = _pair(moment_DD, covariance_DD)
    shares_D: Vector = np.einsum("ij,ji->i", moment_DD, covariance_DD)
    return shares_D


def participation_ratio(moment_DD: Matrix) -> float:
    """`spectrum_participation` of M's eigenvalues.

    Raises:
        ValueError: M is 0, or not a finite square matrix.
    """
    return spectrum_participation(spectrum(moment_DD))


def effective_dimension(moment_DD: Matrix, *, share: float = 0.95) -> int:
    """Effective functional dimension: `spectrum_dimension` of M's eigenvalues.

    Raises:
        ValueError: the share is not in (0, 1], M is 0, or M is not a finite square matrix.
    """
    return spectrum_dimension(spectrum(moment_DD), share=share)


def spectrum_participation(values_D: Vector) -> float:
    """(Σλ)² / Σλ² in [1, D]: D for equal eigenvalues, 1 for a single one.

    Raises:
        ValueError: every eigenvalue is 0.
    """
    values_D = _positive(values_D)
    values_D = values_D / values_D[0]  # squares of small gradients' moments would underflow
    return float(values_D.sum() ** 2 / np.square(values_D).sum())


def spectrum_dimension(values_D: Vector, *, share: float = 0.95) -> int:
    """The smallest k whose k largest eigenvalues hold `share` of Σλ.

    Raises:
        ValueError: the share is not in (0, 1], or every eigenvalue is 0.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share} must be above 0 and at most 1")
    held_D = np.cumsum(_positive(values_D))
    # A tolerance of a few bits: k equal eigenvalues hold k/D, however their sum is rounded.
    return int(np.argmax(held_D >= share * held_D[-1] * (1 - 1e-12))) + 1


def subspace_overlap(
    directions_DC: Matrix, others_DC: Matrix, *, covariance_DD: Matrix | None = None
) -> float:
    """‖QᵀQ'‖²_F / C in [0, 1], with orthonormal bases Q and Q' of the two spans.

    Args:
        directions_DC, others_DC: directions as columns.
        covariance_DD: Σ, in whose inner product vᵀΣw the bases are orthonormal: the spans are then
            those of the features, in any basis of h. The identity when None.

    Raises:
        ValueError: the shapes differ, there are no directions, or the covariance does not fit.
    """
    first_DC, second_DC = (
        np.linalg.qr(side)[0] for side in _compared(directions_DC, others_DC, covariance_DD)
    )
    return float(np.square(first_DC.T @ second_DC).sum() / first_DC.shape[1])


def recurring_directions(
    directions_DC: Matrix,
    others_DC: Matrix,
    *,
    cosine: float = 0.9,
    covariance_DD: Matrix | None = None,
) -> int:
    """How many directions have a partner among the others with |cos| ≥ `cosine`, one to one.

    Args:
        directions_DC, others_DC: directions as columns.
        cosine: the least |cos| of a pair.
        covariance_DD: Σ, with which the cosine is the correlation of the features vᵀh and wᵀh, in
            any basis of h. The identity when None.

    Raises:
        ValueError: the shapes differ, there are no directions, or the covariance does not fit.
    """
    sides = _compared(directions_DC, others_DC, covariance_DD)
    first_DC, second_DC = (side / np.linalg.norm(side, axis=0) for side in sides)
    cosine_CC = np.abs(first_DC.T @ second_DC)
    rows, columns = linear_sum_assignment(cosine_CC, maximize=True)
    return int((cosine_CC[rows, columns] >= cosine).sum())


def kept_share(moment_DD: Matrix, units: Sequence[int]) -> float:
    """Share of Σλ = tr M that `units` keep: Σ_{i∈E} M_ii / tr M, in [0, 1].

    Raises:
        ValueError: M is 0 or not a finite square matrix; a unit is repeated or not one of the D.
    """
    return selection.kept_share(np.diagonal(_symmetric(moment_DD)), units)


def _positive(values_D: Vector) -> Vector:
    values_D = np.sort(np.asarray(values_D, dtype=np.float64))[::-1]
    if not values_D.any():
        raise ValueError("the gradient moment is 0: the output does not depend on the layer")
    return values_D


def _signed(vectors_DC: Matrix) -> Matrix:
    """Columns whose entry of largest magnitude is positive."""
    largest_C = np.abs(vectors_DC).argmax(axis=0)
    signs_C = np.sign(vectors_DC[largest_C, np.arange(vectors_DC.shape[1])])
    return np.ascontiguousarray(vectors_DC * signs_C)


def _roots(covariance_DD: Matrix) -> tuple[Matrix, Matrix]:
    """Σ^½ and Σ^-½ as (D, R) factors on the numerical range of Σ."""
    # Units of very different scale: the range is that of the correlations.
    scale_D = np.sqrt(np.diagonal(covariance_DD).clip(min=0))
    scale_D = np.where(scale_D > 0, scale_D, 1.0)
    values_D, vectors_DD = np.linalg.eigh(covariance_DD / np.outer(scale_D, scale_D))
    floor = max(values_D[-1], 0.0) * len(values_D) * np.finfo(np.float64).eps
    kept_D = values_D > floor
    roots_R, basis_DR = np.sqrt(values_D[kept_D]), vectors_DD[:, kept_D]
    return scale_D[:, None] * basis_DR * roots_R, basis_DR / scale_D[:, None] / roots_R


def _pair(moment_DD: Matrix, covariance_DD: Matrix) -> tuple[Matrix, Matrix]:
    moment_DD, covariance_DD = _symmetric(moment_DD), _symmetric(covariance_DD)
    if moment_DD.shape != covariance_DD.shape:
        raise ValueError(
            f"a moment over {len(moment_DD)} units and a covariance of {len(covariance_DD)} "
            "are of different layers or models"
        )
    return moment_DD, covariance_DD


def _compared(
    directions_DC: Matrix, others_DC: Matrix, covariance_DD: Matrix | None
) -> tuple[Matrix, Matrix]:
    """Both, as coordinates in which the inner product is the usual one."""
    if directions_DC.shape != others_DC.shape or not directions_DC.size:
        raise ValueError(
            f"directions {directions_DC.shape} and {others_DC.shape} cannot be compared"
        )
    if covariance_DD is None:
        return directions_DC, others_DC
    root_DR, _ = _roots(_symmetric(covariance_DD))
    if len(root_DR) != len(directions_DC):
        raise ValueError(
            f"a covariance of {len(root_DR)} units does not fit directions {directions_DC.shape}"
        )
    return root_DR.T @ directions_DC, root_DR.T @ others_DC


def _symmetric(moment_DD: Matrix) -> Matrix:
    moment_DD = np.asarray(moment_DD, dtype=np.float64)
    if moment_DD.ndim != 2 or moment_DD.shape[0] != moment_DD.shape[1]:
        raise ValueError(f"a moment is a square matrix, not {moment_DD.shape}")
    if not np.isfinite(moment_DD).all():
        raise ValueError("the moment is not finite: score the teacher in a wider dtype")
    return moment_DD
