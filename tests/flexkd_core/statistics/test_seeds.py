"""Statistics over seeds: against scipy and closed forms, then the small and flat samples."""

from __future__ import annotations

import math
import statistics as standard

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flexkd_core import PairedDifference, Summary, paired_difference, summarise

finite = st.floats(-100, 100).map(lambda value: round(value, 3))


def by_seed(values: list[float]) -> dict[int, float]:
    return {10 * (seed + 1): value for seed, value in enumerate(values)}


def test_three_seeds_by_hand() -> None:
    summary = summarise([1.0, 2.0, 3.0])
    # std 1; t(0.975, 2) = 4.302653 (any t table); 4.302653 / √3 = 2.484138
    assert (summary.n, summary.mean, summary.std) == (3, 2, 1)
    assert summary.ci95 == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)


@settings(max_examples=30)
@given(st.lists(finite, min_size=2, max_size=8, unique=True))
def test_agrees_with_the_standard_library_and_scipy(values: list[float]) -> None:
    summary = summarise(values)
    assert summary.mean == pytest.approx(standard.mean(values), abs=1e-12)
    assert summary.std == pytest.approx(standard.stdev(values))
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert summary.ci95 == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_one_seed_has_no_spread() -> None:
    assert summarise([0.7]) == Summary(n=1, mean=0.7, std=None, ci95=None)


def test_equal_values_have_spread_zero() -> None:
    summary = summarise([0.1] * 7)
    assert summary.std == 0
    assert summary.mean == pytest.approx(0.1)
    assert summary.ci95 == (summary.mean, summary.mean)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        summarise([1.0, bad])
    with pytest.raises(ValueError, match=r"seed 20: 1.0 against"):
        paired_difference(by_seed([1.0, 1.0]), by_seed([1.0, bad]))
    # A seed that is not shared does not count, whatever its value.
    assert paired_difference({1: 1.0, 2: bad}, {1: 0.5}).mean == 0.5


def test_nothing_to_summarise_and_no_shared_seed() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        summarise([])
    with pytest.raises(ValueError, match=r"ours ran \[1\], the baseline \[2\]"):
        paired_difference({1: 0.0}, {2: 0.0})


@settings(max_examples=30)
@given(st.lists(st.tuples(finite, finite), min_size=2, max_size=9))
def test_paired_difference_agrees_with_scipy(pairs: list[tuple[float, float]]) -> None:
    ours, baseline = ([pair[side] for pair in pairs] for side in (0, 1))
    difference = np.round(np.array(ours) - np.array(baseline), 3)
    found = paired_difference(by_seed(ours), by_seed(baseline))
    assert found.n == len(pairs)
    assert found.mean == pytest.approx(difference.mean(), abs=1e-9)
    assert found.std == pytest.approx(difference.std(ddof=1), abs=1e-9)
    if np.ptp(difference) > 0:
        assert found.p_t == pytest.approx(stats.ttest_rel(ours, baseline).pvalue, rel=1e-6)
    if len(pairs) < 6:
        assert found.p_wilcoxon is None
    elif difference.any():
        assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(difference).pvalue)


def test_swapping_the_sides_flips_the_sign_alone() -> None:
    ours, baseline = by_seed([3, 1, 4, 1.5, 5, 9]), by_seed([2, 7, 1, 8, 2.8, 1])
    there, back = paired_difference(ours, baseline), paired_difference(baseline, ours)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p_t == pytest.approx(back.p_t)
    assert there.p_wilcoxon == pytest.approx(back.p_wilcoxon)


def test_only_shared_seeds_are_paired() -> None:
    found = paired_difference({1: 1.0, 2: 5.0, 3: 2.0}, {3: 1.0, 2: 3.0, 4: 100.0})
    assert (found.n, found.mean) == (2, 1.5)


def test_one_shared_seed_has_no_test() -> None:
    assert paired_difference({1: 0.75}, {1: 0.5}) == PairedDifference(
        n=1, mean=0.25, std=None, ci95=None, p_t=None, p_wilcoxon=None
    )


def test_no_difference_at_all_is_p_one() -> None:
    values = by_seed([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert paired_difference(values, values) == PairedDifference(
        n=6, mean=0, std=0, ci95=(0, 0), p_t=1, p_wilcoxon=1
    )


def test_constant_difference_has_no_t_test_also_when_rounding_differs() -> None:
    baseline = [0.1, 0.3, 0.81, 0.83, 1.7, 90.9]
    found = paired_difference(by_seed([b + 0.01 for b in baseline]), by_seed(baseline))
    assert found.mean == pytest.approx(0.01)
    assert found.std == 0
    assert found.ci95 == (found.mean, found.mean)
    assert found.p_t is None
    assert found.p_wilcoxon == pytest.approx(2 / 2**6)  # all six signs agree, two-sided


def test_large_and_tiny_metrics_keep_their_differences() -> None:
    for scale in (1e-20, 1e20):
        found = paired_difference({1: 3 * scale, 2: 5 * scale}, {1: scale, 2: scale})
        assert found.mean == pytest.approx(3 * scale)


def test_false_alarms_of_the_paired_t_test_are_as_rare_as_promised() -> None:
    # 400 comparisons of equal methods at level 0.05: the count of alarms is Binomial(400, 0.05).
    # The seed is fixed; over seeds the bounds would fail with probability below 1e-4.
    generator = np.random.default_rng(0)
    alarms = sum(
        paired_difference(by_seed(list(a)), by_seed(list(b))).p_t < 0.05
        for a, b in generator.normal(size=(400, 2, 5))
    )
    low, high = stats.binom.interval(1 - 1e-4, 400, 0.05)
    assert low <= alarms <= high
