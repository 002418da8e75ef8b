"""Draw examples by a hash of a seed and their number.

A draw depends on nothing but the seed and the number of examples: not on a library's generator, nor
on the order in which workers read the data.

Shapes: N examples, C drawn ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""Constants of SplitMix64."""


def drawn_order(total: int, seed: int) -> Indices:
    """All indices 0 to `total` − 1 in an order drawn by `seed`; ties go to the lower index.

    Raises:
        ValueError: the total is negative.
    """
    if total < 0:
        raise ValueError(f"the number of examples {total} must be at least 0")
    order_N: Indices = np.argsort(_hashes(total, seed), kind="stable").astype(np.int64)
    return order_N


def drawn_rows(total: int, count: int, seed: int) -> Indices:
    """`count` of `total` indices, without replacement, in ascending order.

    Draws of one seed are nested: those of a smaller `count` are among those of a larger one.

    Raises:
        ValueError: the count is not in 0 to `total`.
    """
    if not 0 <= count <= total:
        raise ValueError(f"cannot draw {count} of {total} examples")
    return np.sort(drawn_order(total, seed)[:count])


def drawn_stratified(strata_N: ArrayLike, count: int, seed: int) -> Indices:
    """`count` indices in ascending order, each stratum in proportion to its size.

    Every stratum gets the whole part of its share, and the largest remainders one more; if `count`
    allows it, every stratum gets at least one. Within a stratum draws are nested as in
    `drawn_rows`.

    Args:
        strata_N: the stratum of each example, any comparable values.
        count: how many are drawn in all.

    Raises:
        ValueError: the strata are not a vector, or the count is not in 0 to N.
    """
    strata_N = np.asarray(strata_N)
    if strata_N.ndim != 1 or not 0 <= count <= len(strata_N):
        raise ValueError(f"cannot draw {count} of {strata_N.shape} examples")
    names, stratum_N = np.unique(strata_N, return_inverse=True)
    order_N = drawn_order(len(strata_N), seed)
    counts = _allocated(np.bincount(stratum_N, minlength=len(names)), count)
    drawn = [order_N[stratum_N[order_N] == s][:taken] for s, taken in enumerate(counts)]
    rows_C: Indices = np.sort(np.concatenate([np.empty(0, np.int64), *drawn]))
    return rows_C


def _allocated(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of each stratum are drawn, by largest remainders; ties go to the first stratum."""
    if not sizes.sum():
        return sizes.copy()
    share = sizes * count
    counts: NDArray[np.int64] = share // sizes.sum()
    remainders = share % sizes.sum()
    for stratum in np.argsort(-remainders, kind="stable")[: count - int(counts.sum())]:
        counts[stratum] += 1
    for empty in np.flatnonzero((counts == 0) & (sizes > 0)):
        if count >= len(sizes):
            counts[int(np.argmax(counts))] -= 1
            counts[empty] = 1
    return counts


def _hashes(total: int, seed: int) -> NDArray[np.uint64]:
    """SplitMix64 of the seed, and of its combination with each index."""
    first = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    return _mixed(np.arange(total, dtype=np.uint64) ^ first)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One output of SplitMix64 for each state (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        z = state + np.uint64(_GAMMA)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))
