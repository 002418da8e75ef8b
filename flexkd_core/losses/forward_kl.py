"""Forward Kullback-Leibler divergence between teacher and student class probabilities.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from flexkd_core.losses._inputs import mean_over_rows, require_same_shape, result_dtype


def forward_kl(student_NV: Tensor, teacher_NV: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Mean over the rows of τ² · Σ_v p_T (log p_T − log p_S), p = softmax(logits / τ).

    The true divergence and not soft cross-entropy, so that equal logits cost 0. The factor τ²
    keeps the gradient's scale comparable over temperatures.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0.
        temperature: τ > 0.

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per row; 0 with a gradient of 0 without rows.

    Raises:
        ValueError: the shapes differ (cut padded vocabulary rows from both sides first), or the
            temperature is not a positive number.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature {temperature} must be a positive, finite number")
    require_same_shape(student_NV, teacher_NV, "(rows, classes)")
    dtype = result_dtype(student_NV, teacher_NV)
    student_NV = torch.log_softmax(student_NV.to(dtype) / temperature, dim=1)
    teacher_NV = torch.log_softmax(teacher_NV.to(dtype) / temperature, dim=1)
    probability_NV = teacher_NV.exp()
    # 0·log 0 is 0 here, where floating point says NaN.
    ratio_NV = torch.where(probability_NV == 0, 0.0, teacher_NV - student_NV)
    return mean_over_rows((probability_NV * ratio_NV).sum(dim=1)) * temperature**2
