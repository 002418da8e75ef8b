"""Selection of the teacher units a student is matched with (Eqs. 3 and 4).

Shapes: D teacher units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pairing = Literal["rank", "index"]

Order = Literal["highest", "lowest"]


def select_units(
    importance_D: ArrayLike,
    count: int,
    *,
    pairing: Pairing = "rank",
    order: Order = "highest",
) -> list[int]:
    """E = {i_1, …, i_count}, the units of largest importance; unit i_m pairs with student unit m.

    Args:
        importance_D: G, one number per teacher unit; an array or a CPU tensor.
        count: how many units, the student's hidden size.
        pairing: "rank" orders them by descending importance (Eq. 3), "index" by their unit index in
            the teacher. The set is the same. Ties go to the lower index.
        order: "lowest" takes the units of smallest importance, the smallest first: a control.

    Returns:
        `count` distinct unit indices.

    Raises:
        ValueError: the importance is not a vector or contains NaN or inf, the count is negative or
            more than D, or the pairing or the order is unknown.

    Source: Saadi & Wang 2025, arXiv:2507.10155.
    """
    values_D = _importance(importance_D)
    _require_count(count, len(values_D))
    if pairing not in ("rank", "index"):
        raise ValueError(f"pairing {pairing!r} is not one of 'rank', 'index'")
    if order not in ("highest", "lowest"):
        raise ValueError(f"order {order!r} is not one of 'highest', 'lowest'")
    # A stable sort of the negated values keeps ties in index order.
    ordered_D = -values_D if order == "highest" else values_D
    units = np.argsort(ordered_D, kind="stable")[:count].tolist()
    return sorted(units) if pairing == "index" else units


def select_diverse(importance_D: ArrayLike, covariance_DD: ArrayLike, count: int) -> list[int]:
    """Units of large importance that do not repeat each other, in the order of their selection.

    Greedy: the next unit has the largest G_i · ρ_i, where ρ_i is the share of unit i's variance
    that the units selected so far do not explain linearly (1 − R²_i). Uncorrelated units are
    selected by importance alone. Where every gain is 0, as with fewer examples than units, the rest
    follows by importance, units without variance last. Ties go to the lower index.

    Args:
        importance_D: G ≥ 0.
        covariance_DD: Σ of the features. A unit without variance has ρ = 0.
        count: how many units.

    Raises:
        ValueError: the importance is not a vector, contains NaN, inf or a negative value; the
            covariance does not fit it; the count is negative or more than D.
    """
    values_D = _importance(importance_D)
    if (values_D < 0).any():
        raise ValueError("diverse units need importance that is nowhere negative")
    covariance_DD = np.asarray(covariance_DD, dtype=np.float64)
    if covariance_DD.shape != (len(values_D),) * 2 or not np.isfinite(covariance_DD).all():
        raise ValueError(
            f"the covariance {covariance_DD.shape} of {len(values_D)} units must be finite and "
            "square"
        )
    _require_count(count, len(values_D))
    variance_D = np.diagonal(covariance_DD)
    free_D = np.ones(len(values_D), dtype=bool)
    residual_D = variance_D.copy()
    # Pivoted Cholesky: column k holds what unit k adds to the explained part of the others.
    factor_DC = np.zeros((len(values_D), count))
    units: list[int] = []
    for place in range(count):
        scale_D = np.where(variance_D > 0, variance_D, 1.0)
        unexplained_D = (residual_D / scale_D).clip(min=0)
        unexplained_D[unexplained_D < 1e-12] = 0  # the rounding of an explained unit
        # The last key is the first to sort by; a stable sort keeps ties in index order.
        keys = (-values_D, variance_D <= 0, -values_D * unexplained_D, ~free_D)
        unit = int(np.lexsort(keys)[0])
        units.append(unit)
        free_D[unit] = False
        if unexplained_D[unit] > 0:
            column_D = covariance_DD[:, unit] - factor_DC[:, :place] @ factor_DC[unit, :place]
            factor_DC[:, place] = column_D / np.sqrt(residual_D[unit])
            residual_D = residual_D - np.square(factor_DC[:, place])
    return units


def jaccard(units: Iterable[int], others: Iterable[int]) -> float:
    """Overlap of two selections, |A ∩ B| / |A ∪ B| in [0, 1]; 1 for two empty ones."""
    a, b = set(units), set(others)
    return len(a & b) / len(a | b) if a | b else 1.0


def pair_agreement(units: Sequence[int], others: Sequence[int]) -> float:
    """Share of the positions that hold the same unit in both selections, in [0, 1]; 1 for none.

    Position m is paired with student unit m: two selections may share every unit and no pair.

    Raises:
        ValueError: the selections differ in length.
    """
    if len(units) != len(others):
        raise ValueError(f"selections of {len(units)} and {len(others)} units have other positions")
    return sum(a == b for a, b in zip(units, others, strict=True)) / len(units) if units else 1.0


def kept_share(importance_D: ArrayLike, units: Sequence[int]) -> float:
    """Share of the total importance in `units`: Σ_{i∈E} G_i / Σ_i G_i, in [0, 1].

    Raises:
        ValueError: the importance is not a vector, contains NaN, inf or negative values, or sums to
            0; a unit is repeated or not one of the D.
    """
    values_D = _importance(importance_D)
    if (values_D < 0).any() or not values_D.any():
        raise ValueError("a share needs importance that is nowhere negative and somewhere positive")
    if len(set(units)) < len(units) or not all(0 <= unit < len(values_D) for unit in units):
        raise ValueError(f"units must be distinct and in 0 to {len(values_D) - 1}")
    return float(values_D[list(units)].sum() / values_D.sum())


def _importance(importance_D: ArrayLike) -> NDArray[np.float64]:
    values_D = np.asarray(importance_D, dtype=np.float64)
    if values_D.ndim != 1:
        raise ValueError(f"importance must be a vector over the units, not {values_D.shape}")
    finite_D = np.isfinite(values_D)
    if not finite_D.all():
        unit = int((~finite_D).argmax())
        shown = "NaN" if np.isnan(values_D[unit]) else "infinite"
        raise ValueError(
            f"importance of unit {unit} is {shown}: the teacher's gradients overflow; score it in "
            "a wider dtype"
        )
    return values_D


def _require_count(count: int, units: int) -> None:
    if not 0 <= count <= units:
        raise ValueError(
            f"cannot select {count} of {units} teacher units: the student must be no wider than "
            "the teacher"
        )
