"""The supervised loss and the metrics of a task, from a model's outputs.

Shapes: N rows of outputs, C outputs of the head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flexkd_core import binary_cross_entropy, squared_error, token_cross_entropy

from ..spec import TASK_KINDS
from .multilabel import multilabel_metrics

Metrics = dict[str, float]


class RowLoss(Protocol):
    """A loss with one value for each row of outputs."""

    def __call__(
        self, outputs_NC: Tensor, labels_N: Tensor, /, *, reduction: Literal["none"]
    ) -> Tensor:
        """Values (N,), on the outputs' graph; the labels of a multi-label task are (N, C)."""
        ...


@dataclass(frozen=True)
class Head:
    """One task's supervised loss and metrics.

    supervised: the loss by row, which is an example, or a token of text. That of a task with
        class weights accepts them as `class_weights`, (C,).
    metrics: (logits_NC, labels_N) → every metric of the task, by name, in its own unit; None for
        a task whose students generate text, whose metrics need that text.
    """

    supervised: RowLoss
    metrics: Callable[[NDArray[np.float64], NDArray[np.float64]], Metrics] | None


def classification_metrics(
    logits_NC: NDArray[np.float64], labels_N: NDArray[np.float64]
) -> Metrics:
    """Accuracy, F1 (of class 1 for two classes, macro for more), Matthews' correlation, and the
    mean of the first two (GLUE's measure of MRPC).

    Matthews' correlation is 0 if a side has only one class.
    """
    # Imported here: scikit-learn takes a second to import, and checks of a spec do not use it.
    from sklearn.metrics import f1_score, matthews_corrcoef

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
    """Pearson's and Spearman's correlation, 0 if a side is constant, the mean of the two
    (GLUE's measure of STS-B), and squared error.
    """
    # As scikit-learn above.
    from scipy import stats

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


def _value_error(outputs_N1: Tensor, labels_N: Tensor, /, *, reduction: Literal["none"]) -> Tensor:
    labels_N1 = labels_N[:, None].to(outputs_N1.dtype)
    return squared_error(outputs_N1, labels_N1, reduction=reduction)


HEADS: dict[str, Head] = {
    "classes": Head(token_cross_entropy, classification_metrics),
    "labels": Head(binary_cross_entropy, multilabel_metrics),
    "number": Head(_value_error, regression_metrics),
    "tokens": Head(token_cross_entropy, None),
}
"""Heads by name, which is the `head` of a task kind."""


def register_head(name: str, head: Head) -> None:
    """Register the head of a task of another package.

    Raises:
        ValueError: another head has this name.
    """
    if HEADS.setdefault(name, head) is not head:
        raise ValueError(f"the head {name!r} is already registered; use another name")


def head_of(task: str) -> Head:
    """The head of a task, by the task's name in a spec."""
    return HEADS[TASK_KINDS[task].head]
