"""Skew forward KL divergence, from the teacher to a mixture of teacher and student.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._divergence import log_probabilities, skewed_kl_rows
from flexkd_core.losses._inputs import Reduction, reduce_rows


def skew_forward_kl(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    skew: float = 0.1,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of τ² · KL(p_T ‖ σ·p_T + (1 − σ)·p_S), with σ = `skew`.

    The teacher's share σ of the mixture bounds the loss by −ln σ, for any student probabilities.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0, finite in cost for σ > 0.
        skew: σ in [0, 1); 0 is `forward_kl`.
        temperature: τ > 0; the factor τ² is as in `forward_kl`.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar in [0, −τ² · ln σ], in nats per row, or (N,) for "none"; 0 with a
        gradient of 0 without rows.

    Raises:
        ValueError: the shapes differ, the skew is outside [0, 1), the temperature is not a
            positive number, or the reduction is unknown.

    Source: DistiLLM, Ko et al. 2024, arXiv:2402.03898.
    """
    student_NV, teacher_NV = log_probabilities(student_NV, teacher_NV, temperature)
    rows_N = skewed_kl_rows(teacher_NV, student_NV, skew)
    return reduce_rows(rows_N * temperature**2, reduction)
