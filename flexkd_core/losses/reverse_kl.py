"""Reverse Kullback-Leibler divergence, which penalizes what the teacher finds unlikely.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._divergence import kl_rows, log_probabilities
from flexkd_core.losses._inputs import Reduction, reduce_rows


def reverse_kl(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of τ² · Σ_v p_S (log p_S − log p_T), p = softmax(logits / τ).

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0; one that only the teacher excludes costs +inf, with a
            gradient that is not finite: exclude it on both sides.
        temperature: τ > 0; the factor τ² is as in `forward_kl`.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per row, or (N,) for "none"; 0 with a gradient of 0
        without rows.

    Raises:
        ValueError: the shapes differ, the temperature is not a positive number, or the reduction
            is unknown.

    Source: MiniLLM, Gu et al. 2024, arXiv:2306.08543.
    """
    student_NV, teacher_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return reduce_rows(kl_rows(student_NV, teacher_NV) * temperature**2, reduction)
