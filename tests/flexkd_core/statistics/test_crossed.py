"""Intervals over seeds and examples: closed forms, then coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from flexkd_core.statistics import (
    crossed_mean,
    crossed_replicates,
    replicates,
    summarise,
    weighted_mean,
)


def cells(
    seed: int, seeds: int, examples: int, parts: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Seeds × examples with standard deviations of seeds, examples and the rest, and mean 0."""
    generator = np.random.default_rng(seed)
    of_seed, of_example, rest = parts
    return (
        of_seed * generator.normal(size=(seeds, 1))
        + of_example * generator.normal(size=examples)
        + rest * generator.normal(size=(seeds, examples))
    )


def test_two_by_two_by_hand() -> None:
    # Means of seeds 1 and 4, of examples 1.5 and 3.5; residuals ±0.5: A = 9, B = 4, E = 1.
    found = crossed_mean(np.array([[0.5, 1.5], [2.5, 5.5]]))
    assert found.mean == 2.5
    assert found.se_seeds**2 == pytest.approx(9 / 4)
    assert found.se_examples**2 == pytest.approx((4 - 1) / 4)
    half = 12.706204736 * 3**0.5  # t(0.975, 1) for both: √(t² · 9/4 + t² · 3/4)
    assert found.ci95 == pytest.approx((2.5 - half, 2.5 + half))


def test_without_variation_over_examples_it_is_the_t_test() -> None:
    values_S = np.array([0.1, 0.4, 0.2, 0.7])
    found = crossed_mean(np.tile(values_S[:, None], (1, 30)))
    assert found.ci95 == pytest.approx(summarise(values_S).ci95)
    assert found.p == pytest.approx(stats.ttest_1samp(values_S, 0).pvalue)


def test_p_and_interval_agree() -> None:
    values_SN = cells(1, 3, 40, (0.2, 1.0, 1.0))
    found = crossed_mean(values_SN)
    assert found.ci95 is not None
    at_the_end = crossed_mean(values_SN - found.ci95[0])
    assert at_the_end.p == pytest.approx(0.05, rel=1e-6)


def test_seeds_that_agree_have_an_interval_of_some_width() -> None:
    """Each seed is right on half of the examples, but not on the same ones."""
    values_SN = np.array([[1.0, 0.0] * 20, [0.0, 1.0] * 20])
    found = crossed_mean(values_SN)
    assert summarise(values_SN.mean(axis=1)).std == 0
    assert found.ci95 is not None
    assert found.ci95[1] - found.ci95[0] > 0.1


def test_nothing_varies() -> None:
    flat = crossed_mean(np.full((3, 5), 0.7))
    assert (flat.mean, flat.ci95, flat.p) == (pytest.approx(0.7), None, None)
    assert crossed_mean(np.zeros((3, 5))).p == 1.0


@pytest.mark.parametrize("shape", [(1, 5), (3, 1), (4,)])
def test_too_few(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 seeds and 2 examples"):
        crossed_mean(np.zeros(shape))
    with pytest.raises(ValueError, match="not finite"):
        crossed_mean(np.full((2, 2), np.nan))


def test_the_bootstrap_agrees_on_an_average() -> None:
    values_SN = cells(2, 4, 60, (0.3, 1.0, 0.8))
    values_SB = np.stack(
        [replicates(lambda w, x=x_N: weighted_mean(w, x), 60) for x_N in values_SN]
    )
    found = crossed_replicates(values_SN.mean(axis=1), values_SB, 60)
    expected = crossed_mean(values_SN)
    assert found.mean == pytest.approx(expected.mean)
    # 2,000 draws estimate a variance to 3 %; the same weights are drawn in every run.
    assert found.se_seeds == pytest.approx(expected.se_seeds, rel=0.1)
    assert found.se_examples == pytest.approx(expected.se_examples, rel=0.1)


TRIALS = 600


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("parts", [(0.5, 0.0, 1.0), (0.1, 1.0, 1.0), (0.0, 0.0, 1.0)])
def test_coverage(seeds: int, parts: tuple[float, float, float]) -> None:
    """The noise of seeds, of examples, and of neither: at least 95 % of the intervals hold 0.

    The number of misses is at most Binomial(600, 0.05); the bound fails by chance once in 10,000.
    """
    missed = 0
    for trial in range(TRIALS):
        low, high = crossed_mean(cells(trial, seeds, 40, parts)).ci95 or (0.0, 0.0)
        missed += not low <= 0 <= high
    assert missed <= stats.binom.ppf(1 - 1e-4, TRIALS, 0.05)


def test_the_interval_over_seeds_alone_misses_another_test_set() -> None:
    """What the crossed interval is for: with 5 seeds and most noise from the examples."""
    missed = sum(
        not summary.ci95[0] <= 0 <= summary.ci95[1]
        for trial in range(TRIALS)
        if (summary := summarise(cells(trial, 5, 40, (0.1, 1.0, 1.0)).mean(axis=1))).ci95
    )
    assert missed > 0.15 * TRIALS


def test_coverage_of_a_difference_of_accuracies() -> None:
    """0 and 1 for values, and one test set in common: 3 seeds of two equally good methods."""
    generator = np.random.default_rng(3)
    alarms = 0
    for _ in range(TRIALS):
        difficulty_N = generator.normal(size=100)
        skill_MS = 0.5 + 0.1 * generator.normal(size=(2, 3))
        own_MN = 0.5 * generator.normal(size=(2, 100))
        noise_MSN = generator.normal(size=(2, 3, 100))
        right_MSN = skill_MS[..., None] + own_MN[:, None] + noise_MSN > difficulty_N
        p = crossed_mean(right_MSN[0].astype(float) - right_MSN[1]).p
        alarms += p is not None and p < 0.05
    assert alarms <= stats.binom.ppf(1 - 1e-4, TRIALS, 0.05)
