"""The mean of a metric over seeds and test examples, with the noise of both.

Shapes: S seeds, N test examples, B bootstrap replicates. Every seed is measured on the same
examples. The model of a value, or of a paired difference, is

    x[s, i] = μ + a[s] + b[i] + e[s, i],  Var(mean) = σ²_a / S + σ²_b / N + σ²_e / (S N).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .seeds import CONFIDENCE

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class CrossedMean:
    """A mean over seeds × test examples.

    seeds, examples: S and N.
    mean: in the metric's own unit.
    se_seeds: standard error from the seeds, √(σ²_a / S + σ²_e / (S N)), estimated.
    se_examples: standard error from the choice of test examples, √(σ²_b / N), estimated.
    ci95: interval that holds another draw of seeds and another test set; None if nothing varies.
    p: two-sided p-value of mean = 0 by the same interval; None if nothing varies and the mean is
        not 0.
    """

    seeds: int
    examples: int
    mean: float
    se_seeds: float
    se_examples: float
    ci95: tuple[float, float] | None
    p: float | None


def crossed_mean(values_SN: FloatArray) -> CrossedMean:
    """Mean of values that are averaged over examples (accuracy, ROUGE, squared error).

    With the mean squares of a two-way layout without replication, A of seeds, B of examples and E
    of the rest, the two parts of the variance of the mean are

        seeds: max(A, E) / (S N)        examples: max(B − E, 0) / (S N).

    E[A] = σ²_e + N σ²_a and E[B] = σ²_e + S σ²_b, so A + B − E is unbiased; the bounds say that no
    variance is negative. Seeds that happen to agree do not give a part of 0: they differ at least
    by what each has of its own on the examples. See `_interval` for the degrees of freedom.

    Raises:
        ValueError: fewer than 2 seeds or examples, or a value that is not finite.
    """
    seeds, examples = _checked(values_SN, "examples")
    grand = float(values_SN.mean())
    seed_S, example_N = values_SN.mean(axis=1), values_SN.mean(axis=0)
    residual_SN = values_SN - seed_S[:, None] - example_N + grand
    of_seeds = examples * float(np.sum((seed_S - grand) ** 2)) / (seeds - 1)
    of_examples = seeds * float(np.sum((example_N - grand) ** 2)) / (examples - 1)
    rest = float(np.sum(residual_SN**2)) / ((seeds - 1) * (examples - 1))
    cells = seeds * examples
    return _from_variances(
        grand,
        seeds,
        examples,
        max(of_seeds, rest) / cells,
        max(of_examples - rest, 0.0) / cells,
    )


def crossed_replicates(values_S: FloatArray, values_SB: FloatArray, examples: int) -> CrossedMean:
    """Mean of a metric that is no average over examples (F1, correlations), by the bootstrap.

    values_S: the metric of each seed; values_SB: the same on B resampled test sets, which all seeds
    share. The variance over B of the mean over seeds is σ²_b/N + σ²_e/(SN), the mean over seeds of
    each one's is (σ²_b + σ²_e)/N, which gives both components; σ²_a is that between `values_S`. For
    an average over examples this agrees with `crossed_mean` as B grows.

    Raises:
        ValueError: fewer than 2 seeds, examples or replicates, or a value that is not finite.
    """
    seeds, _ = _checked(values_SB, "replicates")
    if values_S.shape != (seeds,) or examples < 2:
        raise ValueError(f"{values_S.shape} values of {seeds} seeds on {examples} examples")
    together = float(values_SB.mean(axis=0).var(ddof=1))
    alone = float(values_SB.var(axis=1, ddof=1).mean())
    shared = max((seeds * together - alone) / (seeds - 1), 0.0)
    of_seeds = max(float(values_S.var(ddof=1)), alone - shared) / seeds
    return _from_variances(float(values_S.mean()), seeds, examples, of_seeds, shared)


def _checked(values: FloatArray, second: str) -> tuple[int, int]:
    if values.ndim != 2 or min(values.shape) < 2:
        raise ValueError(f"{values.shape} values: give at least 2 seeds and 2 {second}")
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite: a run diverged")
    return values.shape[0], values.shape[1]


def _from_variances(
    mean: float, seeds: int, examples: int, of_seeds: float, of_examples: float
) -> CrossedMean:
    # Equal values have a variance of 1e-33 from the rounding of their mean.
    tiny = 1e-24 * max(mean**2, 1e-300)
    of_seeds, of_examples = (v if v > tiny else 0.0 for v in (of_seeds, of_examples))
    ci95, p = _interval(mean, (of_seeds, of_examples), (seeds - 1, examples - 1))
    return CrossedMean(seeds, examples, mean, of_seeds**0.5, of_examples**0.5, ci95, p)


def _interval(
    mean: float, variances: tuple[float, float], freedoms: tuple[int, int]
) -> tuple[tuple[float, float] | None, float | None]:
    """Interval mean ± √(Σ t²(1 − α/2, f_k) · v_k), and the α at which it ends at 0.

    Each variance is weighed with the quantile of its own degrees of freedom. The coverage is at
    least 1 − α at every level and for any ratio of the variances (Banerjee 1961, Sankhya A 23), and
    the t-interval over seeds where the examples add nothing. Satterthwaite's single number
    of degrees of freedom gives shorter intervals, but with 3 seeds up to 2.8 % of false alarms at
    level 0.5 %, which Holm's correction relies on; see docs/statistics.md.
    """
    if not any(variances):
        return None, 1.0 if mean == 0 else None
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    def half_squared(level: float) -> float:
        return sum(
            float(stdtrit(freedom, level / 2)) ** 2 * variance
            for freedom, variance in zip(freedoms, variances, strict=True)
        )

    half = half_squared(1 - CONFIDENCE) ** 0.5
    # By the logarithm of the level, so that small p-values are exact too.
    smallest = -100.0
    if half_squared(float(np.exp(smallest))) <= mean**2:
        p = float(np.exp(smallest))
    elif mean == 0:
        p = 1.0
    else:
        found = brentq(lambda log: half_squared(float(np.exp(log))) - mean**2, smallest, 0.0)
        p = float(np.exp(found))
    return (mean - half, mean + half), p
