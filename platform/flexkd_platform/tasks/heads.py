"""What a task means for outputs: its supervised loss, its logit loss, its metrics.

Shapes: N examples, C outputs of the head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from torch import Tensor, nn

from flexkd_core import forward_kl, squared_error

Metrics = dict[str, float]


@dataclass(frozen=True)
class Head:
    """One task's losses and metrics.

    supervised: (logits_NC, labels_N) → fp32 scalar, mean over examples.
    logit: (student_NC, teacher_NC, temperature) → fp32 scalar, mean over examples.
    metrics: (logits_NC, labels_N) → every metric of the task, by name, in its own unit.
    regression: whether labels are numbers rather than classes.
    """

    supervised: Callable[[Tensor, Tensor], Tensor]
    logit: Callable[[Tensor, Tensor, float], Tensor]
    metrics: Callable[[NDArray[np.float64], NDArray[np.float64]], Metrics]
    regression: bool


def classification_metrics(
    logits_NC: NDArray[np.float64], labels_N: NDArray[np.float64]
) -> Metrics:
    """Accuracy, F1 (of class 1 for two classes, macro for more), Matthews' correlation, and the
    mean of the first two (GLUE's measure of MRPC).

    Matthews' correlation is 0 where a side has one class only.
    """
    predicted_N = logits_NC.argmax(axis=1)
    expected_N = labels_N.astype(np.int64)
    average = "binary" if logits_NC.shape[1] == 2 else "macro"
    constant = np.ptp(predicted_N) == 0 or np.ptp(expected_N) == 0
    matthews = 0.0 if constant else float(matthews_corrcoef(expected_N, predicted_N))
    accuracy = float((predicted_N == expected_N).mean())
    f1 = float(f1_score(expected_N, predicted_N, average=average, zero_division=0.0))
    return {
        "accuracy": accuracy,
        "f1": f1,
        "matthews": matthews,
        "accuracy_f1": (accuracy + f1) / 2,
    }


def regression_metrics(logits_NC: NDArray[np.float64], labels_N: NDArray[np.float64]) -> Metrics:
    """Pearson's and Spearman's correlation, 0 where a side is constant, the mean of the two
    (GLUE's measure of STS-B), and squared error.
    """
    predicted_N = logits_NC[:, 0]
    constant = np.ptp(predicted_N) == 0 or np.ptp(labels_N) == 0
    pearson = 0.0 if constant else float(stats.pearsonr(predicted_N, labels_N)[0])
    spearman = 0.0 if constant else float(stats.spearmanr(predicted_N, labels_N)[0])
    return {
        "pearson": pearson,
        "spearman": spearman,
        "pearson_spearman": (pearson + spearman) / 2,
        "mse": float(np.mean((predicted_N - labels_N) ** 2)),
    }


def _cross_entropy(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits_NC.float(), labels_N.long())


def _value_error(logits_N1: Tensor, labels_N: Tensor) -> Tensor:
    return squared_error(logits_N1, labels_N[:, None].to(logits_N1.dtype))


def _softened_kl(student_NC: Tensor, teacher_NC: Tensor, temperature: float) -> Tensor:
    return forward_kl(student_NC, teacher_NC, temperature=temperature)


def _output_error(student_N1: Tensor, teacher_N1: Tensor, temperature: float) -> Tensor:
    # A number has no distribution to soften, so the temperature does not act here.
    return squared_error(student_N1, teacher_N1)


TASKS: Mapping[str, Head] = {
    "classification": Head(_cross_entropy, _softened_kl, classification_metrics, regression=False),
    "regression": Head(_value_error, _output_error, regression_metrics, regression=True),
}
"""Every task by the name a spec gives it."""
