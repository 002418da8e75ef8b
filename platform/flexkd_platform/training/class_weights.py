"""The weights of classes in the supervised loss, from the labels that a model is trained on.

Shapes: N examples, C classes.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ..plan import LabelReading, Reading
from ..tasks import Examples, LabelExamples, has_label


def class_weights(reading: Reading, data: Examples) -> Tensor | None:
    """w (C,), fp64; None without class weights.

    Balanced are N / (C · N_c) for one class per example, and (N − N_c) / N_c for any number of
    them, where N_c of N labelled examples have class c; 1 where N_c is 0, or N_c is N.
    """
    if not isinstance(reading, LabelReading) or reading.class_weights == "none":
        return None
    assert isinstance(data, LabelExamples), "its reading is that of labels"
    if reading.class_weights != "balanced":
        return torch.tensor(reading.class_weights, dtype=torch.float64)
    known = data.labels[has_label(data.labels)]
    total, classes = float(len(known)), reading.outputs
    if reading.multilabel:
        count_C = known.double().sum(dim=0)
        weights_C = (total - count_C) / count_C
    else:
        count_C = torch.bincount(known, minlength=classes).double()
        weights_C = total / (classes * count_C)
    usual_C = (count_C > 0) & (count_C < total)
    return torch.where(usual_C, weights_C, 1.0)


def weighed(data: Examples, weights_C: Tensor | None) -> Examples:
    """The examples with the weight of each in the mean of the loss, if they have one class."""
    if weights_C is None or not isinstance(data, LabelExamples) or data.labels.ndim == 2:
        return data
    known_N = has_label(data.labels)
    return replace(data, weights=weights_C[data.labels.clamp(min=0)] * known_N)
