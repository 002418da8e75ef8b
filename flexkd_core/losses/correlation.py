"""Correlation loss between paired student and teacher units, the feature loss of Flex-KD.

Shapes: N valid rows (pooled examples, or unmasked tokens), S student units.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from flexkd_core.losses._inputs import (
    centre_rows,
    require_same_shape,
    result_dtype,
    unit_norm,
    unit_weights,
)

Reduction = Literal["sum", "mean"]


def unit_correlation(student_NS: Tensor, teacher_NS: Tensor) -> Tensor:
    """Pearson correlation of each student unit with its teacher unit over the rows, Eq. 6.

    C_m = Σ_n s_nm t_nm / sqrt(Σ_n s_nm² · Σ_n t_nm²), both sides centred over n.

    Args:
        student_NS: features of the student, any float dtype; computed in fp32 or wider.
        teacher_NS: features of the selected teacher units, in the student's unit order.

    Returns:
        fp32 (or fp64) vector of S values in [-1, 1]; 0 for a unit without variance on either
        side, and for all units when N < 2.

    Raises:
        ValueError: the shapes differ or are not two-dimensional.

    Source: Saadi & Wang 2025, arXiv:2507.10155.
    """
    require_same_shape(student_NS, teacher_NS, "(rows, units)")
    dtype = result_dtype(student_NS, teacher_NS)
    if student_NS.shape[0] < 2:
        # Zero times the input keeps the result on the graph: its gradient is 0, not missing.
        return (student_NS.to(dtype) * 0).sum(dim=0)
    # Each side is normalised before the product: Σs²·Σt² would underflow fp32 for small features.
    student_NS = unit_norm(centre_rows(student_NS.to(dtype)), dim=0)
    teacher_NS = unit_norm(centre_rows(teacher_NS.to(dtype)), dim=0)
    return (student_NS * teacher_NS).sum(dim=0)


def correlation_loss(
    student_NS: Tensor,
    teacher_NS: Tensor,
    *,
    reduction: Reduction = "sum",
    weights_S: Tensor | None = None,
) -> Tensor:
    """Feature loss of Flex-KD, Eq. 5: Σ_m w_m (1 − C_m)², with w_m = 1 in the paper.

    The rows are all rows the statistics are taken over: mask padding and gather over workers
    first. Two halves of a batch do not add up to the loss of the whole.

    Args:
        student_NS, teacher_NS: see `unit_correlation`.
        reduction: "sum" over units as in the paper (its scale grows with S), or "mean".
        weights_S: weights of the units, scaled to Σ w = S, so that the range of the loss stays.

    Returns:
        Unitless scalar in [0, 4·S] for "sum", [0, 4] for "mean"; a unit without variance counts
        1; 0 with a gradient of 0 when N < 2.

    Raises:
        ValueError: the shapes differ, the reduction is neither "sum" nor "mean", or the weights are
            not one number ≥ 0 each.

    Source: Saadi & Wang 2025, arXiv:2507.10155.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction {reduction!r} is not one of 'sum', 'mean'")
    deviation_S = (1 - unit_correlation(student_NS, teacher_NS)).square()
    if weights_S is not None:
        deviation_S = deviation_S * unit_weights(weights_S, deviation_S[None])
    if student_NS.shape[0] < 2:
        deviation_S = deviation_S * 0
    return deviation_S.sum() if reduction == "sum" else deviation_S.sum() / max(len(deviation_S), 1)
