"""Squared error between the outputs of two regression models.

Shapes: N examples, one output each.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._inputs import Reduction, reduce_rows, require_same_shape, result_dtype


def squared_error(
    student_N1: Tensor, teacher_N1: Tensor, *, reduction: Reduction = "mean"
) -> Tensor:
    """Mean over the examples of (s_n − t_n)²: the logit loss of regression.

    Args:
        student_N1, teacher_N1: outputs, any float dtype; computed in fp32 or wider.
        reduction: "mean" or "sum" over the examples, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in squared label units, or (N,) for "none"; 0 with a gradient
        of 0 without rows.

    Raises:
        ValueError: the shapes differ, there is not exactly one output per example, or the
            reduction is unknown.
    """
    require_same_shape(student_N1, teacher_N1, "(rows, 1)")
    if student_N1.shape[1] != 1:
        raise ValueError(
            f"student {tuple(student_N1.shape)} and teacher {tuple(teacher_N1.shape)} must both be "
            "(rows, 1): squared_error compares regression outputs, forward_kl compares classes"
        )
    dtype = result_dtype(student_N1, teacher_N1)
    error_N1 = (student_N1.to(dtype) - teacher_N1.to(dtype)).square()
    return reduce_rows(error_N1[:, 0], reduction)
