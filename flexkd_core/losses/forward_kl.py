"""Forward Kullback-Leibler divergence between teacher and student class probabilities.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._divergence import kl_rows, log_probabilities
from flexkd_core.losses._inputs import Reduction, reduce_rows


def forward_kl(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of τ² · Σ_v p_T (log p_T − log p_S), p = softmax(logits / τ).

    The true divergence and not soft cross-entropy, so that equal logits cost 0. The factor τ²
    keeps the gradient's scale comparable over temperatures.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0; one that only the student excludes costs +inf.
        temperature: τ > 0.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per row, or (N,) for "none"; 0 with a gradient of 0
        without rows.

    Raises:
        ValueError: the shapes differ (cut padded vocabulary rows from both sides first, see
            `same_vocabulary`), the temperature is not a positive number, or the reduction is
            unknown.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """
    student_NV, teacher_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return reduce_rows(kl_rows(teacher_NV, student_NV) * temperature**2, reduction)
