"""Tests over the test examples, for models that are trained already.

They answer whether a difference on this test set would be found on another one, with the same
students. They do not know what other seeds would give: see `crossed.py`. Shapes: S seeds, N
examples, B bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

REPLICATES = 2000
"""Bootstrap replicates: a p-value of 0.05 has a standard error of 0.005."""

CHUNK = 2**21
"""Weights that are held as fp64 at a time."""

Statistic = Callable[[FloatArray], FloatArray]
"""(weights_BN) → values_B: a metric under weights of the examples; see `weighted.py`."""


def mcnemar(ours_N: NDArray[np.bool_], baseline_N: NDArray[np.bool_]) -> float:
    """Exact two-sided McNemar test of two classifiers on the same examples.

    ours_N, baseline_N: whether each example is classified correctly. Of the examples that one of
    the two has right, half are expected on each side: p is that of the binomial test. McNemar 1947,
    Psychometrika 12.
    """
    return sign_flip_test(ours_N.astype(np.int64) - baseline_N.astype(np.int64))


def sign_flip_test(difference_N: NDArray[np.int64]) -> float:
    """Exact two-sided permutation test of integer differences, one for each example.

    Without a difference, the sign of each is arbitrary; p is the share of all 2^N signs whose sum
    is at least as far from 0. For several seeds, give each example's sum over them, which flips all
    seeds of an example together; for one it is McNemar's test. The distribution of the sum is the
    inverse Fourier transform of Π cos(ω d_i), to an absolute error of about 1e-15.

    Raises:
        ValueError: a difference is not an integer.
    """
    if not np.issubdtype(difference_N.dtype, np.integer):
        raise ValueError(f"differences of type {difference_N.dtype}; give integers")
    size_N = np.abs(difference_N[difference_N != 0])
    if len(size_N) == 0:
        return 1.0
    largest, observed = int(size_N.sum()), abs(int(difference_N.sum()))
    points = 2 * largest + 1
    omega_P = 2 * np.pi * np.arange(points) / points
    transform_P = np.ones(points)
    for size, count in zip(*np.unique(size_N, return_counts=True), strict=True):
        transform_P *= np.cos(size * omega_P) ** int(count)
    mass_P = np.fft.ifft(transform_P).real
    sums_P = np.concatenate([np.arange(largest + 1), np.arange(-largest, 0)])
    return float(np.clip(mass_P[np.abs(sums_P) >= observed].sum(), 0.0, 1.0))


@lru_cache(maxsize=2)
def bootstrap_weights(examples: int, draws: int = REPLICATES) -> NDArray[np.uint16]:
    """How often each example is in each of `draws` resampled test sets, (B, N), read-only.

    The draws depend on the number of examples alone, so that all models are measured on the same
    resampled sets, and differences between them are paired.
    """
    generator = np.random.default_rng(examples)
    weights_BN = np.empty((draws, examples), dtype=np.uint16)
    for row_N in weights_BN:
        row_N[:] = np.bincount(generator.integers(examples, size=examples), minlength=examples)
    weights_BN.flags.writeable = False
    return weights_BN


def replicates(statistic: Statistic, examples: int, draws: int = REPLICATES) -> FloatArray:
    """The metric on each resampled test set, (B,)."""
    weights_BN = bootstrap_weights(examples, draws)
    rows = max(CHUNK // examples, 1)
    return np.concatenate(
        [
            statistic(weights_BN[start : start + rows].astype(np.float64))
            for start in range(0, draws, rows)
        ]
    )


def bootstrap_p(difference_B: FloatArray) -> float:
    """Two-sided p-value of a paired bootstrap, from the difference on each resampled test set.

    Twice the smaller share of replicates on either side of 0, both counted with one more, so that
    the p-value is never 0. Efron & Tibshirani 1993, chapter 15; Koehn 2004 for text metrics.
    """
    beyond = min(int((difference_B <= 0).sum()), int((difference_B >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(difference_B) + 1))
