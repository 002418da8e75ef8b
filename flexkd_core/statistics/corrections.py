"""Correct p-values for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given.

    The k-th smallest of m p-values becomes max over j ≤ k of min(1, (m − j + 1) · p_(j)). The
    probability of any false alarm among the m comparisons is at most the level, whatever their
    dependence. Holm 1979, Scandinavian Journal of Statistics 6.

    Raises:
        ValueError: a value is not in [0, 1].
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p-value {p} is not in [0, 1]")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
