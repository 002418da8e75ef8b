"""Corrected comparisons, effect sizes, almost stochastic order, and false alarms of verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from flexkd_core.statistics import (
    Comparison,
    almost_stochastic_order,
    compare,
    corrected,
    crossed_mean,
    hedges_g,
    holm,
    violation_ratio,
)

SEEDS = (10, 20, 30)


def test_holm_by_hand() -> None:
    # Ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; the last is raised to the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    with pytest.raises(ValueError, match="not in"):
        holm([1.5])


def test_holm_lies_between_the_p_values_and_bonferroni() -> None:
    p_values = np.random.default_rng(0).random(20).tolist()
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1, 20 * p)


def test_effect_size() -> None:
    # mean 2, std 1; J(2) = Γ(1) / (1 · Γ(1/2)) = 1/√π = 0.5642 (Hedges 1981, table 1: 0.5642)
    assert hedges_g([1.0, 2.0, 3.0]) == pytest.approx(2 / math.sqrt(math.pi))
    assert hedges_g([1.0, 2.0]) is None
    assert hedges_g([1.0, 1.0, 1.0]) is None


def comparison(values: list[float]) -> Comparison:
    seeds = range(len(values))
    ours = dict(zip(seeds, values, strict=True))
    return compare(ours, dict.fromkeys(seeds, 0.0))


def test_a_verdict_needs_three_seeds_and_survives_the_correction() -> None:
    clear, close, two = (
        comparison([1.0, 1.01, 1.02]),
        comparison([1.0, 1.4, 1.2]),
        comparison([1.0, 1.0001]),
    )
    assert close.p is not None
    assert close.p < 0.05
    (alone,) = corrected([close])
    assert (alone.verdict, alone.comparisons) == ("distinguishable", 1)
    found = corrected([clear, close, two, comparison([1.0])])
    assert [each.comparisons for each in found] == [3] * 4
    assert found[0].verdict == "distinguishable"
    assert found[1].p_holm == pytest.approx(close.p)  # the largest of three
    assert found[2].p_holm is not None
    assert found[2].p_holm < 0.05
    assert [found[2].verdict, found[3].verdict] == ["not tested"] * 2
    among = corrected([close, *[comparison([1.0, -1.0, 0.5])] * 5])
    assert among[0].verdict == "not distinguishable"


def test_no_width_is_no_interval() -> None:
    flat = comparison([0.5, 0.5, 0.5])
    assert (flat.std, flat.interval, flat.p, flat.effect_size) == (0, None, None, None)
    assert corrected([flat])[0].verdict == "not tested"


def test_examples_widen_the_interval() -> None:
    generator = np.random.default_rng(0)
    difference_SN = generator.normal(0.5, 1, size=50) + generator.normal(0, 0.1, size=(3, 50))
    by_seed = dict(zip(SEEDS, difference_SN.mean(axis=1), strict=True))
    base = dict.fromkeys(SEEDS, 0.0)
    both = compare(by_seed, base, crossed=crossed_mean(difference_SN))
    over_seeds = compare(by_seed, base)
    assert both.ci95 == over_seeds.ci95
    assert both.interval is not None
    assert over_seeds.interval is not None
    assert both.interval[0] < over_seeds.interval[0]
    assert both.p > over_seeds.p


def test_false_alarms_of_a_job() -> None:
    """Six methods against a baseline over three seeds, and no effect: jobs with any verdict.

    Uncorrected, 24.7 % of such jobs have some p < 0.05. Corrected, at most 5 %: of 400 jobs, the
    bounds fail by chance once in 10,000.
    """
    generator = np.random.default_rng(0)
    uncorrected = alarms = 0
    for _ in range(400):
        scores_MS = generator.normal(size=(6, 3))
        ft = dict(zip(SEEDS, scores_MS[0], strict=True))
        found = corrected([compare(dict(zip(SEEDS, s, strict=True)), ft) for s in scores_MS[1:]])
        uncorrected += any(each.p < 0.05 for each in found)
        alarms += any(each.verdict == "distinguishable" for each in found)
    assert uncorrected > 0.12 * 400
    assert alarms <= stats.binom.ppf(1 - 1e-4, 400, 0.05)


OURS = [0.7, 0.8, 0.9, 0.75, 0.82]


def test_violation_ratio_by_hand() -> None:
    # Sorted: .7 .75 .8 .82 .9 against .6 .7 .71 .81 .95: the last alone violates, by .05.
    squares = [0.1**2, 0.05**2, 0.09**2, 0.01**2, 0.05**2]
    found = violation_ratio(OURS, [0.6, 0.7, 0.71, 0.81, 0.95])
    assert found == pytest.approx(squares[-1] / sum(squares))
    assert violation_ratio([2, 3], [1, 2]) == 0
    assert violation_ratio([1, 2], [2, 3]) == 1
    assert violation_ratio([1, 2], [1, 2]) == 0.5
    # deepsig 1.2.8, compute_violation_ratio(dt=0.0005): a Riemann sum.
    unequal = violation_ratio(OURS, [0.6, 0.7, 0.71, 0.81, 0.95, 0.88])
    assert unequal == pytest.approx(0.23607, abs=5e-4)


def test_almost_stochastic_order() -> None:
    # deepsig 1.2.8, aso(dt=0.0005), three seeds: 0.6755 ± 0.0001. It draws 1,000 times.
    found = almost_stochastic_order(OURS, [0.6, 0.7, 0.71, 0.81, 0.95])
    assert found == pytest.approx(0.6755, abs=0.02)
    assert almost_stochastic_order(OURS, [0.1, 0.2, 0.3, 0.2, 0.1]) == 0
    assert almost_stochastic_order([0.1, 0.2, 0.3, 0.2, 0.1], OURS) == 1
    assert almost_stochastic_order(OURS, OURS) > 0.5
    with pytest.raises(ValueError, match="needs 5 each"):
        almost_stochastic_order(OURS[:4], OURS)
