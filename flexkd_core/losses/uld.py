"""Distance of sorted probabilities, between outputs over different vocabularies.

Shapes: N valid rows (tokens), S entries of the student's vocabulary, T of the teacher's,
V = max(S, T).
"""

from __future__ import annotations

import torch
from torch import Tensor

from flexkd_core.losses._inputs import (
    Reduction,
    reduce_rows,
    require_same_rows,
    require_temperature,
    result_dtype,
)


def uld(
    student_NS: Tensor,
    teacher_NT: Tensor,
    *,
    temperature: float = 1.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Universal logit distillation: mean over the rows of τ · Σ_v |s_(v) − t_(v)|.

    s_(v) and t_(v) are the probabilities softmax(logits / τ), each side sorted in descending order,
    and the smaller vocabulary is padded with probabilities of 0. It is the Wasserstein distance
    between the two sets of probabilities, and does not depend on which entry has which probability:
    a permutation of either vocabulary changes nothing. The factor is τ, as for `tvd`: a distance
    shrinks with the difference of the logits / τ.

    Args:
        student_NS, teacher_NT: logits, any float dtype; computed in fp32 or wider. The vocabularies
            may differ. A logit of −inf is an entry of probability 0.
        temperature: τ > 0.
        reduction: "mean" or "sum" over the rows, or "none".

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 2τ · (1 − 1/V)], or (N,) for "none"; 0 if and only if
        the sorted probabilities are equal, and 0 with a gradient of 0 without rows. Equal
        probabilities add a gradient of 0; among entries of the student with the same probability
        the gradient follows the order of the sort.

    Raises:
        ValueError: the numbers of rows differ, the temperature is not a positive number, or the
            reduction is unknown.

    Source: Boizard et al. 2024, arXiv:2402.12030, Eq. 5, whose τ is 1.
    """
    require_temperature(temperature)
    require_same_rows(student_NS, teacher_NT)
    dtype = result_dtype(student_NS, teacher_NT)
    entries = max(student_NS.shape[1], teacher_NT.shape[1])
    gap_NV = _sorted(student_NS.to(dtype) / temperature, entries) - _sorted(
        teacher_NT.to(dtype) / temperature, entries
    )
    return reduce_rows(gap_NV.abs().sum(dim=1) * temperature, reduction)


def _sorted(logits: Tensor, entries: int) -> Tensor:
    """The probabilities of each row in descending order, padded with zeros to `entries`."""
    sorted_ = torch.softmax(logits, dim=1).sort(dim=1, descending=True, stable=True).values
    return torch.nn.functional.pad(sorted_, (0, entries - logits.shape[1]))
