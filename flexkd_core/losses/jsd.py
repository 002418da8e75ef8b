"""Generalised Jensen-Shannon divergence, between forward and reverse KL.

Shapes: N valid rows (examples, or tokens), V classes or vocabulary entries.
"""

from __future__ import annotations

from torch import Tensor

from flexkd_core.losses._divergence import kl_rows, log_mixture, log_probabilities
from flexkd_core.losses._inputs import Reduction, reduce_rows


def jsd(
    student_NV: Tensor,
    teacher_NV: Tensor,
    *,
    beta: float = 0.5,
    scaled: bool = False,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean over the rows of τ² · [β·KL(p_T ‖ m) + (1 − β)·KL(p_S ‖ m)], m = β·p_T + (1 − β)·p_S.

    β is the weight of the *teacher*, in the mixture m and in the sum. By definition here, as in
    TRL's `generalized_jsd_loss`, β = 0 is the forward KL(p_T ‖ p_S) and β = 1 the reverse
    KL(p_S ‖ p_T). These are not limits of the loss, which is 0 there, but of its slope: the loss
    divided by β, or by 1 − β, tends to them. `scaled` divides it by β(1 − β), so that it is
    continuous at both ends; without it, a small β needs a large weight.

    Args:
        student_NV, teacher_NV: logits, any float dtype; computed in fp32 or wider. A logit of −inf
            is a class of probability 0, finite in cost for 0 < β < 1.
        beta: β in [0, 1].
        scaled: multiply by 1 / (β(1 − β)) where 0 < β < 1. At β = 0.5 this is a factor of 4.
        temperature: τ > 0; the factor τ² is as in `forward_kl`.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        fp32 (or fp64) scalar ≥ 0, in nats per row, or (N,) for "none"; for 0 < β < 1 at most
        τ² · ln 2, or this over β(1 − β) if scaled. 0 with a gradient of 0 without rows.

    Raises:
        ValueError: the shapes differ, β is outside [0, 1], the temperature is not a positive
            number, or the reduction is unknown.

    Source: Agarwal et al. 2024, arXiv:2306.13649, Eq. 1.
    """
    if not 0 <= beta <= 1:
        raise ValueError(
            f"beta {beta} must be in 0 to 1: 0 is the forward, 1 the reverse divergence"
        )
    student_NV, teacher_NV = log_probabilities(student_NV, teacher_NV, temperature)
    if beta == 0:
        loss_N = kl_rows(teacher_NV, student_NV)
    elif beta == 1:
        loss_N = kl_rows(student_NV, teacher_NV)
    else:
        mixture_NV = log_mixture(teacher_NV, student_NV, beta)
        loss_N = beta * kl_rows(teacher_NV, mixture_NV)
        loss_N = loss_N + (1 - beta) * kl_rows(student_NV, mixture_NV)
        if scaled:
            loss_N = loss_N / (beta * (1 - beta))
    return reduce_rows(loss_N * temperature**2, reduction)
