"""Statistics over seeds alone: spread, intervals and paired tests with a baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
"""Coverage of every interval here."""

WILCOXON_MINIMUM = 6
"""With 5 pairs the exact two-sided p-value cannot fall below 2/2⁵ = 0.0625."""


@dataclass(frozen=True)
class Summary:
    """One metric over seeds. With one seed, no spread is reported."""

    n: int
    mean: float
    std: float | None
    """Sample standard deviation (n − 1); None for n = 1."""
    ci95: tuple[float, float] | None
    """95% t-interval of the mean; None for n = 1."""


@dataclass(frozen=True)
class PairedDifference:
    """Ours minus the baseline over the seeds both have run."""

    n: int
    """How many seeds both share."""
    mean: float
    std: float | None
    """Sample standard deviation (n − 1) of the differences; None for n = 1."""
    ci95: tuple[float, float] | None
    """95% t-interval of the mean difference; None for n = 1."""
    p_t: float | None
    """Two-sided p-value of the paired t-test; None if it cannot be computed."""
    p_wilcoxon: float | None
    """Two-sided p-value of the Wilcoxon signed-rank test; None for n < 6."""


def summarise(values: Iterable[float]) -> Summary:
    """Mean, sample standard deviation and 95% t-interval of one metric over seeds.

    mean ± t(0.975, n − 1) · std / √n.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    sample = np.array(list(values), dtype=np.float64)
    if len(sample) == 0:
        raise ValueError("nothing to summarise: give the value of at least one seed")
    if not np.isfinite(sample).all():
        raise ValueError(f"value {sample[~np.isfinite(sample)][0]} is not finite: the run diverged")
    n, mean = len(sample), float(sample.mean())
    if n == 1:
        return Summary(n, mean, None, None)
    # Equal values have a spread of 0; the rounding of their mean would give 1e-17.
    std = float(sample.std(ddof=1)) if np.ptp(sample) > 0 else 0.0
    from scipy.special import stdtrit  # a hundred times as fast as stats.t, and half the import

    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / n**0.5
    return Summary(n, mean, std, (mean - half, mean + half))


def paired_difference(ours: Mapping[int, float], baseline: Mapping[int, float]) -> PairedDifference:
    """Difference ours − baseline, paired by seed, with its interval and p-values.

    Only seeds that both have are used; pairing removes the seed's own effect from the comparison.
    Differences that are 0 for every seed give p = 1. Differences that are equal and not 0 give
    std 0 and no `p_t`: the t statistic would be infinite and p = 0 from two seeds on, a certainty
    that two runs cannot give. The Wilcoxon test needs no spread and is still computed. Zeros are
    dropped before ranking (Wilcoxon's own rule).

    Args:
        ours, baseline: seed → metric.

    Raises:
        ValueError: no seed is shared, or a shared seed's value is not finite.
    """
    seeds = sorted(ours.keys() & baseline.keys())
    if not seeds:
        raise ValueError(
            f"no shared seed: ours ran {sorted(ours)}, the baseline {sorted(baseline)}; "
            "run both over the same seeds"
        )
    ours_n = np.array([ours[seed] for seed in seeds], dtype=np.float64)
    baseline_n = np.array([baseline[seed] for seed in seeds], dtype=np.float64)
    for seed, finite in zip(seeds, np.isfinite(ours_n) & np.isfinite(baseline_n), strict=True):
        if not finite:
            raise ValueError(
                f"seed {seed}: {ours[seed]} against {baseline[seed]} is not finite: a run diverged"
            )
    difference_n = _differences(ours_n, baseline_n)
    summary = summarise(difference_n.tolist())
    return PairedDifference(
        n=summary.n,
        mean=summary.mean,
        std=summary.std,
        ci95=summary.ci95,
        p_t=_p_t(difference_n),
        p_wilcoxon=_p_wilcoxon(difference_n),
    )


def _differences(
    ours_n: NDArray[np.float64], baseline_n: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The differences to 12 digits of the larger metric.

    0.81 − 0.80 and 0.91 − 0.90 differ in the last bit: unrounded, a constant difference would
    have a spread of 1e-17 (and p = 1e-30), and ties would be ranked by rounding.
    """
    largest = float(max(np.abs(ours_n).max(), np.abs(baseline_n).max()))
    if largest == 0:
        return ours_n - baseline_n
    decimals = min(12 - int(np.ceil(np.log10(largest))), 300)  # 10^decimals must stay finite
    return np.round(ours_n - baseline_n, decimals)


def _p_t(difference_n: NDArray[np.float64]) -> float | None:
    if len(difference_n) < 2:
        return None
    if np.ptp(difference_n) == 0:
        return 1.0 if difference_n[0] == 0 else None
    from scipy.special import stdtr

    n = len(difference_n)
    t = abs(float(difference_n.mean())) / (float(difference_n.std(ddof=1)) / n**0.5)
    return 2 * float(stdtr(n - 1, -t))


def _p_wilcoxon(difference_n: NDArray[np.float64]) -> float | None:
    if len(difference_n) < WILCOXON_MINIMUM:
        return None
    if not difference_n.any():
        return 1.0  # nothing is left to rank once zeros are dropped
    from scipy import stats

    return float(stats.wilcoxon(difference_n).pvalue)
