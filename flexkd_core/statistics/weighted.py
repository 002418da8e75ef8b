"""Metrics under weights of the examples, for the bootstrap: values_B of weights_BN.

A weight is how often an example is in a resampled test set; weights of 1 give the metric itself.
Shapes: B sets of weights, N examples, K classes. As scikit-learn and SciPy define the metrics, and
0 where a side is constant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def weighted_mean(weights_BN: FloatArray, values_N: FloatArray) -> FloatArray:
    """Σ w x / Σ w."""
    return np.asarray((weights_BN @ values_N) / weights_BN.sum(axis=1))


def weighted_f1(
    weights_BN: FloatArray, predicted_N: IntArray, expected_N: IntArray, classes: int
) -> FloatArray:
    """F1 of class 1 for two classes, macro for more: 2 TP / (2 TP + FP + FN), 0 if all are 0.

    Macro is the mean over the classes that occur in the resampled labels or predictions.
    """
    is_predicted_NK = predicted_N[:, None] == np.arange(classes)
    is_expected_NK = expected_N[:, None] == np.arange(classes)
    hits_BK = weights_BN @ (is_predicted_NK & is_expected_NK)
    total_BK = weights_BN @ (is_predicted_NK.astype(np.float64) + is_expected_NK)
    f1_BK = 2 * hits_BK / np.maximum(total_BK, 1)
    if classes == 2:
        return np.asarray(f1_BK[:, 1])
    return np.asarray(f1_BK.sum(axis=1) / np.maximum((total_BK > 0).sum(axis=1), 1))


def weighted_matthews(
    weights_BN: FloatArray, predicted_N: IntArray, expected_N: IntArray, classes: int
) -> FloatArray:
    """Matthews' correlation for K classes: cov(p, t) / √(cov(p, p) cov(t, t)). Gorodkin 2004."""
    predicted_BK = weights_BN @ (predicted_N[:, None] == np.arange(classes)).astype(np.float64)
    expected_BK = weights_BN @ (expected_N[:, None] == np.arange(classes)).astype(np.float64)
    hits_B = weights_BN @ (predicted_N == expected_N).astype(np.float64)
    total_B = weights_BN.sum(axis=1)
    covariance_B = hits_B * total_B - (predicted_BK * expected_BK).sum(axis=1)
    return _correlation(
        covariance_B,
        total_B**2 - (predicted_BK**2).sum(axis=1),
        total_B**2 - (expected_BK**2).sum(axis=1),
        total_B**2,
    )


def weighted_pearson(
    weights_BN: FloatArray, predicted_N: FloatArray, expected_N: FloatArray
) -> FloatArray:
    """Pearson's correlation of values (N,)."""
    # Centred first: sums of squares of values far from 0 would cancel.
    x_N, y_N = predicted_N - predicted_N.mean(), expected_N - expected_N.mean()
    sums = [weights_BN @ each for each in (x_N, y_N, x_N * y_N, x_N**2, y_N**2)]
    x_B, y_B, xy_B, xx_B, yy_B = sums
    total_B = weights_BN.sum(axis=1)
    return _correlation(
        xy_B - x_B * y_B / total_B,
        xx_B - x_B**2 / total_B,
        yy_B - y_B**2 / total_B,
        total_B * max(float(x_N.var()), float(y_N.var())),
    )


def weighted_spearman(
    weights_BN: FloatArray, predicted_N: FloatArray, expected_N: FloatArray
) -> FloatArray:
    """Spearman's correlation: Pearson's of the midranks within each resampled set."""
    x_BN = _midranks(weights_BN, predicted_N)
    y_BN = _midranks(weights_BN, expected_N)
    total_B = weights_BN.sum(axis=1)
    # The mean of midranks is (total + 1) / 2 for any ties.
    x_BN -= (total_B[:, None] + 1) / 2
    y_BN -= (total_B[:, None] + 1) / 2
    return _correlation(
        (weights_BN * x_BN * y_BN).sum(axis=1),
        (weights_BN * x_BN**2).sum(axis=1),
        (weights_BN * y_BN**2).sum(axis=1),
        total_B**3,
    )


def _midranks(weights_BN: FloatArray, values_N: FloatArray) -> FloatArray:
    """Rank of each example in each set, the mean rank of its ties."""
    distinct, group_N = np.unique(values_N, return_inverse=True)
    order_N = np.argsort(group_N, kind="stable")
    starts = np.searchsorted(group_N[order_N], np.arange(len(distinct)))
    tied_BG = np.add.reduceat(weights_BN[:, order_N], starts, axis=1)
    below_BG = np.cumsum(tied_BG, axis=1) - tied_BG
    return np.asarray((below_BG + (tied_BG + 1) / 2)[:, group_N])


def _correlation(
    covariance_B: FloatArray, x_B: FloatArray, y_B: FloatArray, scale_B: FloatArray
) -> FloatArray:
    """covariance / √(x y); 0 where a side is constant, up to rounding at the given scale."""
    varies_B = (x_B > 1e-14 * scale_B) & (y_B > 1e-14 * scale_B)
    product_B = np.where(varies_B, x_B, 1.0) * np.where(varies_B, y_B, 1.0)
    return np.where(varies_B, covariance_B / np.sqrt(product_B), 0.0)
