"""Functions that the losses between class probabilities share, in log space.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flexkd_core.losses._inputs import require_same_shape, require_temperature, result_dtype


def log_probabilities(
    student_NV: Tensor, teacher_NV: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Log-softmax of both sides' logits / τ, fp32 or wider; −inf stays −inf.

    Raises:
        ValueError: the shapes differ, or the temperature is not a positive number.
    """
    require_temperature(temperature)
    require_same_shape(student_NV, teacher_NV, "(rows, classes)")
    dtype = result_dtype(student_NV, teacher_NV)
    return (
        torch.log_softmax(student_NV.to(dtype) / temperature, dim=1),
        torch.log_softmax(teacher_NV.to(dtype) / temperature, dim=1),
    )


def kl_rows(log_p_NV: Tensor, log_q_NV: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_v p_v (log p_v − log q_v) of each row, in nats; +inf where q excludes a v.

    A class that p excludes adds 0, with a gradient of 0, for any q.
    """
    p_NV = log_p_NV.exp()
    # 0·log 0 is 0 here; in floating point it is NaN.
    ratio_NV = torch.where(p_NV == 0, 0.0, log_p_NV - log_q_NV)
    return (p_NV * ratio_NV).sum(dim=1)


def skewed_kl_rows(log_p_NV: Tensor, log_q_NV: Tensor, skew: float) -> Tensor:
    """KL(p ‖ σ·p + (1 − σ)·q) of each row, with σ = `skew`, in nats; at most −ln σ.

    Raises:
        ValueError: the skew is outside [0, 1).
    """
    if not 0 <= skew < 1:
        raise ValueError(f"skew {skew} must be at least 0 and below 1, where the loss vanishes")
    return kl_rows(log_p_NV, log_mixture(log_p_NV, log_q_NV, skew))


def log_mixture(log_p_NV: Tensor, log_q_NV: Tensor, weight: float) -> Tensor:
    """log(weight·p + (1 − weight)·q), for a weight in [0, 1].

    Classes that both exclude have a finite value instead of −inf: `kl_rows` never reads it, and the
    gradient of logaddexp(−inf, −inf) is NaN.
    """
    if weight == 0:
        return log_q_NV
    if weight == 1:
        return log_p_NV
    excluded_NV = log_p_NV.isneginf() & log_q_NV.isneginf()
    return torch.logaddexp(
        log_p_NV.masked_fill(excluded_NV, 0.0) + math.log(weight),
        log_q_NV.masked_fill(excluded_NV, 0.0) + math.log1p(-weight),
    )
