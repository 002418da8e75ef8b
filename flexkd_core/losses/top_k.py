"""The teacher's most likely classes and one bucket for all the others.

Shapes: N valid rows (examples, or tokens), V vocabulary entries, K kept classes, K1 = K + 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flexkd_core.losses._inputs import require_same_shape, result_dtype


def top_k_logits(teacher_NV: Tensor, student_NV: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the teacher's k most likely classes, and of the rest taken together.

    Both sides keep the same classes, in order of descending teacher probability; ties go to the
    lower index. The last column is log Σ_{v not kept} p_v. Each row is a distribution over
    k + 1 outcomes and, as its own log-softmax, a valid input of every loss between classes. A
    divergence over it is at most the divergence over V classes.

    Args:
        teacher_NV, student_NV: logits, any float dtype; computed in fp32 or wider.
        k: how many classes to keep, 1 to V. With k = V the tail is −inf on both sides.

    Returns:
        Student and teacher, in that order, as the losses take them: fp32 (or fp64) (N, K1). For a
        temperature τ other than 1 pass logits / τ here and multiply the loss by τ²: the temperature
        cannot be applied to the bucket afterwards.

    Raises:
        ValueError: the shapes differ, or k is not in 1 to V.
    """
    require_same_shape(student_NV, teacher_NV, "(rows, classes)")
    classes = teacher_NV.shape[1]
    if not 1 <= k <= classes:
        raise ValueError(
            f"cannot keep the {k} most likely of {classes} classes: k must be in 1 to {classes}"
        )
    dtype = result_dtype(student_NV, teacher_NV)
    kept_NK = _largest(teacher_NV.detach(), k)
    student_NV = torch.log_softmax(student_NV.to(dtype), dim=1)
    teacher_NV = torch.log_softmax(teacher_NV.to(dtype), dim=1)
    return _with_tail(student_NV, kept_NK), _with_tail(teacher_NV, kept_NK)


def _largest(values_NV: Tensor, k: int) -> Tensor:
    """Indices of the k largest values, descending, ties by index, without sorting all V.

    `torch.topk` does not specify which of equal values it keeps.
    """
    values_NV = torch.where(values_NV.isnan(), torch.inf, values_NV)
    threshold_N1 = values_NV.topk(k, dim=1).values[:, -1:]
    above_NV, at_NV = values_NV > threshold_N1, values_NV == threshold_N1
    missing_N1 = k - above_NV.sum(dim=1, keepdim=True)
    kept_NV = above_NV | (at_NV & (at_NV.cumsum(dim=1) <= missing_N1))
    index_NK = kept_NV.nonzero()[:, 1].reshape(len(values_NV), k)
    order_NK = values_NV.gather(1, index_NK).argsort(dim=1, descending=True, stable=True)
    return index_NK.gather(1, order_NK)


def _with_tail(log_p_NV: Tensor, kept_NK: Tensor) -> Tensor:
    rest_NV = log_p_NV.scatter(1, kept_NK, -torch.inf)
    # The gradient of a log-sum of only −inf is NaN: such a tail is set, not computed.
    empty_N1 = rest_NV.isneginf().all(dim=1, keepdim=True)
    tail_N1 = rest_NV.masked_fill(empty_N1, 0.0).logsumexp(dim=1, keepdim=True)
    tail_N1 = tail_N1.masked_fill(empty_N1, -torch.inf)
    return torch.cat([log_p_NV.gather(1, kept_NK), tail_N1], dim=1)
