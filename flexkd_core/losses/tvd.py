"""Total variation distance between teacher and student class probabilities.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._divergence import log_probabilities
from flexkd_core.losses._inputs import Reduction, reduce_rows


def tvd(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of τ · ½ Σ_v |p_T − p_S|, p = softmax(logits / τ).

    The factor is τ, not the τ² of the divergences: they shrink with the square of the difference of
    the logits / τ, the distance with the difference itself.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0.
        temperature: τ > 0.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        Unitless fp32 (or fp64) scalar in [0, τ], or (N,) for "none"; 0 with a gradient of 0
        without rows. Classes of equal probability add a gradient of 0.

    Raises:
        ValueError: the shapes differ, the temperature is not a positive number, or the reduction
            is unknown.

    Source: f-distill, Wen et al. 2023, arXiv:2307.15190.
    """
    student_NV, teacher_NV = log_probabilities(student_NV, teacher_NV, temperature)
    distance_N = (teacher_NV.exp() - student_NV.exp()).abs().sum(dim=1) / 2
    return reduce_rows(distance_N * temperature, reduction)
