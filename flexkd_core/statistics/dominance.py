"""Almost stochastic order of two methods' scores over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

MINIMUM = 5
"""Seeds of each side: fewer say nothing of a distribution."""

DRAWS = 5000
"""Bootstrap draws of its standard deviation."""


def violation_ratio(ours: Sequence[float], baseline: Sequence[float]) -> float:
    """How much the scores violate that ours are stochastically larger, in [0, 1].

    ∫ over {t: F⁻¹(t) < G⁻¹(t)} of (F⁻¹ − G⁻¹)² dt, divided by the same over all of [0, 1], where
    F⁻¹ and G⁻¹ are the empirical quantile functions of ours and of the baseline. 0: ours are better
    in every quantile. 1: worse in every one. 0.5 for equal scores. The integral is exact.
    del Barrio et al. 2018, arXiv:1705.01788; Dror et al. 2019, ACL.
    """
    ratios = _ratios(np.array([ours], dtype=np.float64), np.array([baseline], dtype=np.float64))
    return float(ratios[0])


def almost_stochastic_order(
    ours: Sequence[float], baseline: Sequence[float], *, level: float = 0.05, seed: int = 0
) -> float:
    """Upper confidence bound ε_min of the violation ratio; below 0.5, ours are almost larger.

    ε_min = ε − z(level) σ / √(nm / (n + m)), where σ is the standard deviation of
    √(nm / (n + m)) · (ε* − ε) over bootstrap samples of both sides; clipped to [0, 1]. As Dror et
    al. 2019 and the package deepsig, whose usual threshold for a claim is 0.2. Higher scores are
    better: negate scores of which lower ones are. The scores are not paired.

    Args:
        level: 1 − confidence; divide it by the number of comparisons.

    Raises:
        ValueError: a side has fewer than 5 scores.
    """
    if min(len(ours), len(baseline)) < MINIMUM:
        raise ValueError(
            f"{len(ours)} and {len(baseline)} seeds; almost stochastic order needs {MINIMUM} each"
        )
    from scipy.special import ndtri

    generator = np.random.default_rng(seed)
    ours_n, baseline_m = np.array(ours, dtype=np.float64), np.array(baseline, dtype=np.float64)
    drawn_Bn = generator.choice(ours_n, (DRAWS, len(ours_n)))
    drawn_Bm = generator.choice(baseline_m, (DRAWS, len(baseline_m)))
    ratio = violation_ratio(ours, baseline)
    deviation = float(np.std(_ratios(drawn_Bn, drawn_Bm) - ratio))
    return float(np.clip(ratio - float(ndtri(level)) * deviation, 0.0, 1.0))


def _ratios(ours_Bn: FloatArray, baseline_Bm: FloatArray) -> FloatArray:
    """The violation ratio of each pair of rows."""
    n, m = ours_Bn.shape[1], baseline_Bm.shape[1]
    # Both quantile functions are constant between the multiples of 1/n and 1/m.
    ends = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))
    middles = (ends[1:] + ends[:-1]) / 2
    difference_BQ = (
        np.sort(ours_Bn)[:, (middles // m).astype(int)]
        - np.sort(baseline_Bm)[:, (middles // n).astype(int)]
    )
    squared_BQ = difference_BQ**2 * np.diff(ends)
    total_B = squared_BQ.sum(axis=1)
    violated_B = np.where(difference_BQ < 0, squared_BQ, 0.0).sum(axis=1)
    return np.where(total_B > 0, violated_B / np.where(total_B > 0, total_B, 1.0), 0.5)
