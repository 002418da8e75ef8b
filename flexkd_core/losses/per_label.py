"""Any loss between classes, applied to each label of a multi-label model by itself.

Shapes: N rows (examples), C labels of a row.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from flexkd_core.losses._inputs import Reduction, reduce_rows, require_same_shape


class _BetweenClasses(Protocol):
    def __call__(self, student: Tensor, teacher: Tensor, /, **settings: Any) -> Tensor: ...


def per_label(
    loss: _BetweenClasses,
    student_NC: Tensor,
    teacher_NC: Tensor,
    *,
    reduction: Reduction = "mean",
    **settings: Any,
) -> Tensor:
    """Mean over the rows of (1 / C) Σ_c loss((s_c, 0), (t_c, 0)).

    Each label is a choice between two classes: softmax((z, 0) / τ) = (σ(z / τ), 1 − σ(z / τ)). With
    `forward_kl`, a label's loss is the KL divergence of Bernoulli distributions,
    τ² · [p log(p / q) + (1 − p) log((1 − p) / (1 − q))], p = σ(t / τ), q = σ(s / τ).

    Args:
        loss: a loss between class probabilities, as `forward_kl`, `jsd` or `tvd`.
        student_NC, teacher_NC: logits, any float dtype.
        reduction: "mean" or "sum" over the rows, or "none".
        settings: of the loss, as `temperature`.

    Returns:
        A scalar in the loss's unit per label, or (N,) for "none"; 0 with a gradient of 0 without
        rows.

    Raises:
        ValueError: the shapes differ, or the loss refuses its settings.
    """
    require_same_shape(student_NC, teacher_NC, "(rows, labels)")
    pairs = (_with_zero(student_NC), _with_zero(teacher_NC))
    values = loss(*pairs, reduction="none", **settings)
    return reduce_rows(values.reshape(student_NC.shape).mean(dim=1), reduction)


def _with_zero(logits_NC: Tensor) -> Tensor:
    """(N · C, 2): each logit beside 0, label by label of the first row, then of the next."""
    return torch.stack([logits_NC, torch.zeros_like(logits_NC)], dim=-1).reshape(-1, 2)
