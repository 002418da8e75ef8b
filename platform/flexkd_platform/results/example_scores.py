"""Scores of single test examples, for intervals and tests that include the test set's noise.

Shapes: S seeds, N examples, C outputs, B bootstrap replicates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexkd_core.statistics import (
    CrossedMean,
    bootstrap_p,
    crossed_mean,
    crossed_replicates,
    replicates,
    sign_flip_test,
    weighted_f1,
    weighted_matthews,
    weighted_mean,
    weighted_pearson,
    weighted_spearman,
)

from ..artifacts.predictions import Predictions, read_predictions
from ..tracking import TrialRecord

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """One metric of one trial, on the examples of one set.

    values_N: of a metric that is a mean over examples; None for others.
    values_B: the metric on each resampled set; None for a metric that is a mean.
    digest: of the set.
    exact: whether every example is right or wrong, so that an exact test exists.
    """

    digest: str
    examples: int
    value: float
    values_N: FloatArray | None
    values_B: FloatArray | None
    exact: bool = False


PredictionsFile = Callable[[TrialRecord, str], Path | None]
"""(trial, name of the set) → file of its predictions; None if there is none."""


class ExampleScores:
    """Reads the predictions of trials as they are needed, each once."""

    def __init__(self, file_of: PredictionsFile) -> None:
        self._file_of = file_of
        self._predictions: dict[tuple[str, str], Predictions | None] = {}
        self._scores: dict[tuple[str, str], Scores | None] = {}

    def of(self, trials: Sequence[TrialRecord], metric: str) -> list[Scores]:
        """The scores of several trials on the same examples; [] if one of them has none.

        `nll` is a mean over tokens and has none, nor have metrics of other packages.
        """
        found = [self._one(trial, metric) for trial in trials]
        complete = [scores for scores in found if scores is not None]
        same = len({(scores.digest, scores.examples) for scores in complete}) == 1
        return complete if same and len(complete) == len(trials) else []

    def _one(self, trial: TrialRecord, metric: str) -> Scores | None:
        key = trial.hash, metric
        if key not in self._scores:
            name, _, bare = metric.rpartition("/")
            predictions = self._read(trial, name)
            value = trial.metrics.get(metric)
            self._scores[key] = (
                None if predictions is None or value is None else _scores(predictions, bare, value)
            )
        return self._scores[key]

    def _read(self, trial: TrialRecord, name: str) -> Predictions | None:
        key = trial.hash, name
        if key not in self._predictions:
            file = self._file_of(trial, name)
            self._predictions[key] = None if file is None else read_predictions(file)
        return self._predictions[key]


def crossed(scores: Sequence[Scores]) -> CrossedMean | None:
    """The mean over seeds × examples; None for fewer than 2 of either."""
    if len(scores) < 2 or scores[0].examples < 2:
        return None
    if all(each.values_N is not None for each in scores):
        return crossed_mean(_stack([each.values_N for each in scores]))
    values_S = np.array([each.value for each in scores])
    return crossed_replicates(
        values_S, _stack([each.values_B for each in scores]), scores[0].examples
    )


def difference(ours: Sequence[Scores], baseline: Sequence[Scores]) -> list[Scores]:
    """Ours minus the baseline, seed by seed; [] unless both have the same examples."""
    if not ours or not baseline or ours[0].digest != baseline[0].digest:
        return []
    return [
        Scores(
            one.digest,
            one.examples,
            one.value - other.value,
            None
            if one.values_N is None or other.values_N is None
            else one.values_N - other.values_N,
            None
            if one.values_B is None or other.values_B is None
            else one.values_B - other.values_B,
            one.exact and other.exact,
        )
        for one, other in zip(ours, baseline, strict=True)
    ]


def examples_test(differences: Sequence[Scores]) -> tuple[float | None, str | None]:
    """p-value and name of the test of a difference over the examples, for these students.

    Exact where every example is right or wrong, else a paired bootstrap over the examples.
    """
    if not differences or differences[0].examples < 2:
        return None, None
    if any(each.values_N is None for each in differences):
        values_SB = _stack([each.values_B for each in differences])
        return bootstrap_p(values_SB.mean(axis=0)), "paired bootstrap"
    values_SN = _stack([each.values_N for each in differences])
    if differences[0].exact:
        name = "exact McNemar" if len(values_SN) == 1 else "exact permutation"
        return sign_flip_test(values_SN.sum(axis=0).astype(np.int64)), name
    examples = differences[0].examples
    mean_N = values_SN.mean(axis=0)
    drawn_B = replicates(lambda weights_BN: weighted_mean(weights_BN, mean_N), examples)
    return bootstrap_p(drawn_B), "paired bootstrap"


def _scores(predictions: Predictions, metric: str, value: float) -> Scores | None:
    values_N = _means(predictions, metric)
    if values_N is not None:
        exact = metric == "accuracy"
        return Scores(predictions.digest, predictions.examples, value, values_N, None, exact)
    statistic = RESAMPLED.get(metric)
    if statistic is None or predictions.outputs_NC is None or predictions.examples < 2:
        return None
    drawn_B = replicates(partial(statistic, predictions), predictions.examples)
    return Scores(predictions.digest, predictions.examples, value, None, drawn_B)


def _means(predictions: Predictions, metric: str) -> FloatArray | None:
    """The scores whose mean over the examples is the metric."""
    if metric in predictions.scores:
        return predictions.scores[metric]
    if predictions.outputs_NC is None or predictions.labels_N is None:
        return None
    if metric == "accuracy":
        right_N = predictions.outputs_NC.argmax(axis=1) == predictions.labels_N
        return np.asarray(right_N, dtype=np.float64)
    if metric == "mse":
        return np.asarray((predictions.outputs_NC[:, 0] - predictions.labels_N) ** 2)
    return None


def _classes(predictions: Predictions) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    assert predictions.outputs_NC is not None
    assert predictions.labels_N is not None
    predicted_N = predictions.outputs_NC.argmax(axis=1).astype(np.int64)
    return predicted_N, predictions.labels_N.astype(np.int64), predictions.outputs_NC.shape[1]


def _numbers(predictions: Predictions) -> tuple[FloatArray, FloatArray]:
    assert predictions.outputs_NC is not None
    assert predictions.labels_N is not None
    return predictions.outputs_NC[:, 0], predictions.labels_N


def _accuracy_f1(predictions: Predictions, weights_BN: FloatArray) -> FloatArray:
    predicted_N, expected_N, classes = _classes(predictions)
    accuracy_B = weighted_mean(weights_BN, (predicted_N == expected_N).astype(np.float64))
    return (accuracy_B + weighted_f1(weights_BN, predicted_N, expected_N, classes)) / 2


def _pearson_spearman(predictions: Predictions, weights_BN: FloatArray) -> FloatArray:
    sides = _numbers(predictions)
    return (weighted_pearson(weights_BN, *sides) + weighted_spearman(weights_BN, *sides)) / 2


RESAMPLED: Mapping[str, Callable[[Predictions, FloatArray], FloatArray]] = {
    "f1": lambda found, weights_BN: weighted_f1(weights_BN, *_classes(found)),
    "matthews": lambda found, weights_BN: weighted_matthews(weights_BN, *_classes(found)),
    "accuracy_f1": _accuracy_f1,
    "pearson": lambda found, weights_BN: weighted_pearson(weights_BN, *_numbers(found)),
    "spearman": lambda found, weights_BN: weighted_spearman(weights_BN, *_numbers(found)),
    "pearson_spearman": _pearson_spearman,
}
"""Metrics that are no mean over examples, on resampled sets."""


def _stack(values: Sequence[FloatArray | None]) -> FloatArray:
    known = [each for each in values if each is not None]
    assert len(known) == len(values), "a metric has one form"
    return np.stack(known)
