"""Distances between paired student and teacher units: the alternatives of the paper's Table 7.

Shapes: N valid rows, S student units (and as many selected or projected teacher units).
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._inputs import mean_over_rows, require_same_shape, result_dtype, unit_norm


def mse_loss(student_NS: Tensor, teacher_NS: Tensor) -> Tensor:
    """Mean squared error: (1 / N·S) Σ_n Σ_m (s_nm − t_nm)².

    Args:
        student_NS, teacher_NS: features, any float dtype; computed in fp32 or wider.

    Returns:
        fp32 (or fp64) scalar ≥ 0, in squared feature units; 0 with a gradient of 0 without rows.

    Raises:
        ValueError: the shapes differ or are not two-dimensional.

    Source: TinyBERT's hidden loss, Jiao et al. 2020, arXiv:1909.10351, Eq. 8.
    """
    require_same_shape(student_NS, teacher_NS, "(rows, units)")
    dtype = result_dtype(student_NS, teacher_NS)
    error_NS = (student_NS.to(dtype) - teacher_NS.to(dtype)).square()
    return error_NS.sum() / max(error_NS.numel(), 1)


def cosine_loss(student_NS: Tensor, teacher_NS: Tensor) -> Tensor:
    """Mean over the rows of 1 − cos(s_n, t_n).

    Args:
        student_NS, teacher_NS: features, any float dtype; computed in fp32 or wider.

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 2]; 0 with a gradient of 0 without rows. A row that
        is all zero on either side has cosine 0: it costs 1, with a gradient of 0.

    Raises:
        ValueError: the shapes differ or are not two-dimensional.

    Source: DistilBERT's alignment loss, Sanh et al. 2019, arXiv:1910.01108.
    """
    require_same_shape(student_NS, teacher_NS, "(rows, units)")
    dtype = result_dtype(student_NS, teacher_NS)
    student_NS, teacher_NS = (
        unit_norm(student_NS.to(dtype), dim=1),
        unit_norm(teacher_NS.to(dtype), dim=1),
    )
    return mean_over_rows(1 - (student_NS * teacher_NS).sum(dim=1))
