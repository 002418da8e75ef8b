"""Metrics of multi-label predictions, against scikit-learn, and the threshold chosen on rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
)

from flexkd_platform.tasks import best_cut, logit_of, multilabel_metrics, probability_of


def drawn(seed: int, rows: int = 40, labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    logits_NC = draw.normal(size=(rows, labels))
    labels_NC = (logits_NC + draw.normal(size=(rows, labels)) > 0.5).astype(float)
    return logits_NC, labels_NC


def test_agree_with_scikit_learn() -> None:
    logits_NC, labels_NC = drawn(0)
    predicted_NC, found = logits_NC > 0, multilabel_metrics(logits_NC, labels_NC)
    assert found == pytest.approx(
        {
            "micro_f1": f1_score(labels_NC, predicted_NC, average="micro"),
            "macro_f1": f1_score(labels_NC, predicted_NC, average="macro"),
            "subset_accuracy": accuracy_score(labels_NC, predicted_NC),
            "hamming_loss": hamming_loss(labels_NC, predicted_NC),
            "average_precision": average_precision_score(labels_NC, logits_NC),
        }
    )


def test_perfect_and_opposite_predictions() -> None:
    _, labels_NC = drawn(0)
    perfect = multilabel_metrics(2 * labels_NC - 1, labels_NC)
    assert perfect.pop("hamming_loss") == 0
    assert set(perfect.values()) == {1}
    opposite = multilabel_metrics(1 - 2 * labels_NC, labels_NC)
    assert (opposite["micro_f1"], opposite["subset_accuracy"], opposite["hamming_loss"]) == (
        0,
        0,
        1,
    )


def test_classes_that_no_row_or_every_row_has_have_no_average_precision() -> None:
    logits_NC, labels_NC = drawn(1)
    labels_NC[:, 0], labels_NC[:, 1] = 0, 1
    expected = average_precision_score(labels_NC[:, 2:], logits_NC[:, 2:])
    found = multilabel_metrics(logits_NC, labels_NC)
    assert found["average_precision"] == pytest.approx(expected)
    nothing = multilabel_metrics(-np.ones((3, 2)), np.zeros((3, 2)))
    assert nothing == {
        "micro_f1": 0,
        "macro_f1": 0,
        "subset_accuracy": 1,
        "hamming_loss": 0,
        "average_precision": 0,
    }


@pytest.mark.parametrize("seed", range(5))
def test_best_cut_has_the_highest_micro_f1_of_all(seed: int) -> None:
    logits_NC, labels_NC = drawn(seed, rows=9, labels=3)
    logits_NC = logits_NC.round(1)  # with ties, which no cut separates
    values = np.unique(logits_NC)
    cuts = [values[0] - 1, *(values[1:] + values[:-1]) / 2, values[-1] + 1]
    scores = [multilabel_metrics(logits_NC - cut, labels_NC)["micro_f1"] for cut in cuts]
    chosen = best_cut(logits_NC, labels_NC)
    assert multilabel_metrics(logits_NC - chosen, labels_NC)["micro_f1"] == max(scores)
    assert chosen not in values


def test_thresholds_are_probabilities_of_logits() -> None:
    assert logit_of(0.5) == 0
    assert probability_of(logit_of(0.2)) == pytest.approx(0.2)
    assert probability_of(-1000) == 0
