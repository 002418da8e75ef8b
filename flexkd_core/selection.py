"""Selection of the teacher units a student is matched with (Eqs. 3 and 4).

Shapes: D teacher units.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Pairing = Literal["rank", "index"]


def select_units(importance_D: ArrayLike, count: int, *, pairing: Pairing = "rank") -> list[int]:
    """E = {i_1, …, i_count}, the units of largest importance; unit i_m pairs with student unit m.

    Args:
        importance_D: G, one number per teacher unit; an array or a CPU tensor.
        count: how many units, the student's hidden size.
        pairing: "rank" orders them by descending importance (Eq. 3), "index" by their unit index in
            the teacher. The set is the same. Ties go to the lower index.

    Returns:
        `count` distinct unit indices.

    Raises:
        ValueError: the importance is not a vector or contains NaN, the count is negative or more
            than D, or the pairing is unknown.

    Source: Saadi & Wang 2025, arXiv:2507.10155.
    """
    values_D = _importance(importance_D)
    if not 0 <= count <= len(values_D):
        raise ValueError(
            f"cannot select {count} of {len(values_D)} teacher units: the student must be no "
            "wider than the teacher"
        )
    if pairing not in ("rank", "index"):
        raise ValueError(f"pairing {pairing!r} is not one of 'rank', 'index'")
    # A stable sort of the negated values keeps ties in index order.
    units = np.argsort(-values_D, kind="stable")[:count].tolist()
    return sorted(units) if pairing == "index" else units


def jaccard(units: Iterable[int], others: Iterable[int]) -> float:
    """Overlap of two selections, |A ∩ B| / |A ∪ B| in [0, 1]; 1 for two empty ones."""
    a, b = set(units), set(others)
    return len(a & b) / len(a | b) if a | b else 1.0


def kept_share(importance_D: ArrayLike, units: Sequence[int]) -> float:
    """Share of the total importance in `units`: Σ_{i∈E} G_i / Σ_i G_i, in [0, 1].

    Raises:
        ValueError: the importance is not a vector, contains NaN or negative values, or sums to 0; a
            unit is repeated or not one of the D.
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
    if np.isnan(values_D).any():
        raise ValueError(
            f"importance of unit {int(np.isnan(values_D).argmax())} is NaN: the teacher's "
            "gradients overflow; score it in a wider dtype"
        )
    return values_D
