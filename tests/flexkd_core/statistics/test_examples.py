"""Tests over examples: against SciPy, scikit-learn and all sign flips, and their false alarms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from flexkd_core.statistics import (
    bootstrap_p,
    bootstrap_weights,
    mcnemar,
    replicates,
    sign_flip_test,
    weighted_f1,
    weighted_matthews,
    weighted_mean,
    weighted_pearson,
    weighted_spearman,
)


@pytest.mark.parametrize(("ours_alone", "baseline_alone"), [(0, 0), (1, 0), (9, 2), (40, 41)])
def test_mcnemar_is_the_binomial_test(ours_alone: int, baseline_alone: int) -> None:
    ours_N = np.array([True] * ours_alone + [False] * baseline_alone + [True, False])
    baseline_N = np.array([False] * ours_alone + [True] * baseline_alone + [True, False])
    tried = ours_alone + baseline_alone
    expected = stats.binomtest(ours_alone, tried).pvalue if tried else 1.0
    assert mcnemar(ours_N, baseline_N) == pytest.approx(expected, abs=1e-12)


def test_sign_flips_are_counted() -> None:
    difference_N = np.array([3, -1, 2, 2, 0, 1, -2])
    sums = [
        abs(int(np.dot(signs, difference_N)))
        for signs in itertools.product((-1, 1), repeat=len(difference_N))
    ]
    expected = np.mean([each >= abs(difference_N.sum()) for each in sums])
    assert sign_flip_test(difference_N) == pytest.approx(expected)
    assert sign_flip_test(np.zeros(4, dtype=int)) == 1.0
    with pytest.raises(ValueError, match="give integers"):
        sign_flip_test(np.array([0.5]))


def test_false_alarms_of_the_permutation_test() -> None:
    """An exact test: at most 5 %, here over 3 seeds; the bound fails once in 10,000."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(500):
        right_MSN = generator.normal(size=(2, 3, 60)) + generator.normal(size=60) > 0
        difference_N = right_MSN[0].sum(axis=0) - right_MSN[1].sum(axis=0)
        alarms += sign_flip_test(difference_N) < 0.05
    assert alarms <= stats.binom.ppf(1 - 1e-4, 500, 0.05)


def test_false_alarms_of_the_bootstrap() -> None:
    """Approximate: 5 % at 60 examples, here within 4 to 7 %; both bounds fail once in 10,000."""
    generator = np.random.default_rng(1)
    alarms = sum(
        bootstrap_p(replicates(lambda w, d=d_N: weighted_mean(w, d), 60, 500)) < 0.05
        for d_N in generator.normal(size=(500, 60))
    )
    assert stats.binom.ppf(1e-4, 500, 0.04) <= alarms <= stats.binom.ppf(1 - 1e-4, 500, 0.07)


def test_bootstrap_p() -> None:
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000), "never 0"
    assert bootstrap_p(np.zeros(9)) == 1.0
    assert bootstrap_p(np.array([-1.0, 1.0] * 5)) == 1.0


def test_weights_resample_all_examples_and_are_drawn_once() -> None:
    weights_BN = bootstrap_weights(30, 100)
    assert (weights_BN.sum(axis=1) == 30).all()
    assert bootstrap_weights(30, 100) is weights_BN
    assert not weights_BN.flags.writeable


@pytest.mark.parametrize("classes", [2, 3])
def test_weighted_metrics_are_those_of_the_resampled_set(classes: int) -> None:
    generator = np.random.default_rng(classes)
    predicted_N = generator.integers(0, classes, 40)
    expected_N = np.where(generator.random(40) < 0.5, predicted_N, 0)
    x_N = np.round(generator.normal(size=40), 1)  # with ties
    y_N = np.round(x_N + generator.normal(size=40), 1) + 100
    weights_BN = bootstrap_weights(40, 5).astype(float)
    average = "binary" if classes == 2 else "macro"
    for row, weights_N in enumerate(weights_BN):
        rows = np.repeat(np.arange(40), weights_N.astype(int))
        sides = expected_N[rows], predicted_N[rows]
        found = {
            "f1": weighted_f1(weights_BN, predicted_N, expected_N, classes)[row],
            "matthews": weighted_matthews(weights_BN, predicted_N, expected_N, classes)[row],
            "pearson": weighted_pearson(weights_BN, x_N, y_N)[row],
            "spearman": weighted_spearman(weights_BN, x_N, y_N)[row],
        }
        assert found == pytest.approx(
            {
                "f1": f1_score(*sides, average=average),
                "matthews": matthews_corrcoef(*sides),
                "pearson": stats.pearsonr(x_N[rows], y_N[rows])[0],
                "spearman": stats.spearmanr(x_N[rows], y_N[rows])[0],
            }
        )


def test_a_constant_side_has_no_correlation() -> None:
    ones_BN, x_N = np.ones((2, 5)), np.arange(5.0)
    for metric in (weighted_pearson, weighted_spearman):
        assert metric(ones_BN, x_N, np.full(5, 0.1)).tolist() == [0, 0]
    labels_N = np.array([0, 1, 0, 1, 1])
    assert weighted_matthews(ones_BN, np.ones(5, dtype=int), labels_N, 2).tolist() == [0, 0]
    assert weighted_f1(ones_BN, np.zeros(5, dtype=int), labels_N, 2).tolist() == [0, 0]
