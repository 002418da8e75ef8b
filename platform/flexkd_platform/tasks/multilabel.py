"""Metrics of multi-label tasks, and the threshold that decides which classes are predicted.

Shapes: N rows of outputs, C classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def multilabel_metrics(logits_NC: Floats, labels_NC: Floats) -> dict[str, float]:
    """The metrics of predictions z > 0.

    micro_f1: 2·TP / (2·TP + FP + FN), counted over all rows and classes; 0 without any of them.
    macro_f1: mean over the classes of their F1, which is 0 for a class without any of them.
    subset_accuracy: share of rows whose predicted classes are exactly theirs.
    hamming_loss: share of wrong decisions, over all rows and classes.
    average_precision: mean over the classes that some rows have and others lack, of the area
        Σ_k (R_k − R_{k−1}) · P_k under precision and recall; 0 without such a class.
    """
    # As in `heads`: scikit-learn takes a second to import.
    from sklearn.metrics import average_precision_score

    on_NC, predicted_NC = labels_NC > 0.5, logits_NC > 0
    defined_C = on_NC.any(axis=0) & ~on_NC.all(axis=0)
    precision = 0.0
    if defined_C.any():
        precision = float(
            average_precision_score(on_NC[:, defined_C], logits_NC[:, defined_C], average="macro")
        )
    hits_C = (on_NC & predicted_NC).sum(axis=0)
    wrong_C = (on_NC ^ predicted_NC).sum(axis=0)
    return {
        "micro_f1": float(_f1(hits_C.sum(), wrong_C.sum())),
        "macro_f1": float(_f1(hits_C, wrong_C).mean()),
        "subset_accuracy": float((on_NC == predicted_NC).all(axis=1).mean()),
        "hamming_loss": float(wrong_C.sum() / on_NC.size),
        "average_precision": precision,
    }


def _f1(hits: NDArray[np.int64], wrong: NDArray[np.int64]) -> Floats:
    """F1 from true positives, and false positives with false negatives; 0 without any of them."""
    found: Floats = 2 * hits / np.maximum(2 * hits + wrong, 1)
    return found


def logit_of(threshold: float) -> float:
    """z with σ(z) = threshold."""
    return math.log(threshold / (1 - threshold))


def probability_of(logit: float) -> float:
    """σ(z), the inverse of `logit_of`."""
    return (1 + math.tanh(logit / 2)) / 2


def best_cut(logits_NC: Floats, labels_NC: Floats) -> float:
    """The logit above which classes are predicted with the highest micro F1 on these rows.

    It is halfway between two neighbouring logits; among equal ones, the nearest to 0.
    """
    order = np.argsort(-logits_NC, axis=None, kind="stable")
    falling, on = logits_NC.reshape(-1)[order], labels_NC.reshape(-1)[order] > 0.5
    hits = np.concatenate([[0], np.cumsum(on)])  # of the k highest
    f1 = 2 * hits / np.maximum(np.arange(len(hits)) + on.sum(), 1)
    bounds = np.concatenate([[falling[0] + 1], falling, [falling[-1] - 1]])
    # Halfway between the k-th and the next: of equal logits, all or none are predicted.
    cuts = (bounds[:-1] + bounds[1:]) / 2
    apart = bounds[:-1] > bounds[1:]
    apart[0] = apart[-1] = True
    best = np.flatnonzero(apart & (f1 >= f1[apart].max()))
    return float(cuts[best[np.argmin(np.abs(cuts[best]))]])
