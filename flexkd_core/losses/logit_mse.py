"""Mean squared error between the logits of two classifiers.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flexkd_core.losses._inputs import (
    Reduction,
    reduce_rows,
    require_same_shape,
    require_temperature,
    result_dtype,
)


def logit_mse(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of (1 / V) Σ_v (s_v − t_v)², the logits themselves compared.

    Unlike the divergences, it is not invariant to a shift of a row's logits.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A class that
            both exclude by −inf counts neither in the sum nor in V; one that a single side
            excludes costs +inf, with a gradient that is not finite: exclude it on both sides.
        temperature: τ > 0, without effect, as τ² · ((s − t) / τ)² is (s − t)²; accepted so that all
            losses between classes have the same signature.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in squared logits (nats²), or (N,) for "none"; 0 with a gradient
        of 0 without rows.

    Raises:
        ValueError: the shapes differ, the temperature is not a positive number, or the reduction
            is unknown.

    Source: Ba & Caruana 2014, arXiv:1312.6184.
    """
    require_temperature(temperature)
    require_same_shape(student_NV, teacher_NV, "(rows, classes)")
    dtype = result_dtype(student_NV, teacher_NV)
    excluded_NV = student_NV.isneginf() & teacher_NV.isneginf()
    gap_NV = torch.where(excluded_NV, 0.0, student_NV.to(dtype) - teacher_NV.to(dtype))
    classes_N = (~excluded_NV).sum(dim=1).clamp(min=1)
    return reduce_rows(gap_NV.square().sum(dim=1) / classes_N, reduction)
