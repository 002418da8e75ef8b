"""Distances between paired student and teacher units: the alternatives of the paper's Table 7.

Shapes: N valid rows, S student units (and as many selected or projected teacher units).
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._inputs import (
    mean_over_rows,
    require_same_shape,
    result_dtype,
    unit_norm,
    unit_weights,
)


def mse_loss(student_NS: Tensor, teacher_NS: Tensor, *, weights_S: Tensor | None = None) -> Tensor:
    """Mean squared error: (1 / N·S) Σ_n Σ_m w_m (s_nm − t_nm)².

    Args:
        student_NS, teacher_NS: features, any float dtype; computed in fp32 or wider.
        weights_S: weights of the units, scaled to Σ w = S; all 1 when None.

    Returns:
        fp32 (or fp64) scalar ≥ 0, in squared feature units; 0 with a gradient of 0 without rows.

    Raises:
        ValueError: the shapes differ or are not two-dimensional, or the weights are not one number
            ≥ 0 each.

    Source: TinyBERT's hidden loss, Jiao et al. 2020, arXiv:1909.10351, Eq. 8.
    """
    require_same_shape(student_NS, teacher_NS, "(rows, units)")
    dtype = result_dtype(student_NS, teacher_NS)
    error_NS = (student_NS.to(dtype) - teacher_NS.to(dtype)).square()
    if weights_S is not None:
        error_NS = error_NS * unit_weights(weights_S, error_NS)
    return error_NS.sum() / max(error_NS.numel(), 1)


def cosine_loss(
    student_NS: Tensor, teacher_NS: Tensor, *, weights_S: Tensor | None = None
) -> Tensor:
    """Mean over the rows of 1 − cos(s_n, t_n), with inner products Σ_m w_m s_nm t_nm.

    Args:
        student_NS, teacher_NS: features, any float dtype; computed in fp32 or wider.
        weights_S: weights of the units; all 1 when None.

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 2]; 0 with a gradient of 0 without rows. A row that
        is all zero on either side has cosine 0: it costs 1, with a gradient of 0.

    Raises:
        ValueError: the shapes differ or are not two-dimensional, or the weights are not one number
            ≥ 0 each.

    Source: DistilBERT's alignment loss, Sanh et al. 2019, arXiv:1910.01108.
    """
    require_same_shape(student_NS, teacher_NS, "(rows, units)")
    dtype = result_dtype(student_NS, teacher_NS)
    student_NS, teacher_NS = student_NS.to(dtype), teacher_NS.to(dtype)
    if weights_S is not None:
        root_S = unit_weights(weights_S, student_NS).sqrt()
        student_NS, teacher_NS = student_NS * root_S, teacher_NS * root_S
    student_NS, teacher_NS = unit_norm(student_NS, dim=1), unit_norm(teacher_NS, dim=1)
    return mean_over_rows(1 - (student_NS * teacher_NS).sum(dim=1))
