"""Linear centred kernel alignment (CKA) between features of different widths.

Shapes: N valid rows, S student units, T teacher units.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from flexkd_core.losses._inputs import centre_rows, require_same_rows, result_dtype, root

Form = Literal["sqrt", "kornblith"]

EPSILON = 1e-8
"""Added to each of the two self-norms of the `sqrt` form, as in the baseline's published code."""


def linear_cka(student_NS: Tensor, teacher_NT: Tensor, *, form: Form = "sqrt") -> Tensor:
    """Similarity of two feature spaces, invariant to rotation and (almost) to scale.

    With both sides centred over the rows and ε = 1e-8:
        sqrt:       ‖SᵀT‖_F / sqrt((‖SᵀS‖_F + ε) · (‖TᵀT‖_F + ε))
        kornblith:  ‖SᵀT‖²_F / (‖SᵀS‖_F · ‖TᵀT‖_F)
    Without ε the second is the square of the first.

    Args:
        student_NS, teacher_NT: features, any float dtype; computed in fp64.
        form: "sqrt" is what the code published with Dasgupta & Cohn (2025) computes, "kornblith"
            is the definition of Kornblith et al. (2019).

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 1]. 0 with a gradient of 0 when N < 2 and when a side
        has no variance: nothing can be aligned with a constant.

    Raises:
        ValueError: not two-dimensional, different numbers of rows, or an unknown form.

    Source: Kornblith et al. 2019, arXiv:1905.00414; Dasgupta & Cohn 2025 (ICLR).
    """
    require_same_rows(student_NS, teacher_NT)
    if form not in ("sqrt", "kornblith"):
        raise ValueError(f"CKA form {form!r} is not one of 'sqrt', 'kornblith'")
    dtype = result_dtype(student_NS, teacher_NT)
    if student_NS.shape[0] < 2:
        return student_NS.to(dtype).sum() * 0
    student_NS = centre_rows(student_NS.to(torch.float64))
    teacher_NT = centre_rows(teacher_NT.to(torch.float64))
    cross, student, teacher = _squared_norms(student_NS, teacher_NT)
    if form == "sqrt":
        cka = root(cross) / root((root(student) + EPSILON) * (root(teacher) + EPSILON))
    else:
        norms = root(student) * root(teacher)
        cka = cross / torch.where(norms == 0, 1.0, norms)
    return cka.to(dtype)


def cka_loss(student_NS: Tensor, teacher_NT: Tensor, *, form: Form = "sqrt") -> Tensor:
    """Feature loss 1 − CKA of one pair of layers; sum over the mapped layers is the caller's.

    Args:
        student_NS, teacher_NT, form: see `linear_cka`.

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 1]. 0 with a gradient of 0 when N < 2; 1 with a
        gradient of 0 when a side has no variance.

    Raises:
        ValueError: see `linear_cka`.

    Source: Dasgupta & Cohn 2025 (ICLR).
    """
    cka = linear_cka(student_NS, teacher_NT, form=form)
    return 1 - cka if student_NS.shape[0] >= 2 else cka


def _squared_norms(student_NS: Tensor, teacher_NT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """‖SᵀT‖²_F, ‖SᵀS‖²_F and ‖TᵀT‖²_F by whichever products are smaller.

    ‖SᵀT‖²_F = tr(SSᵀ·TTᵀ) exactly, so N×N Gram matrices serve as well as the unit products, at
    N²·(S+T) multiplications instead of N·(ST + S² + T²).
    """
    rows, s, t = student_NS.shape[0], student_NS.shape[1], teacher_NT.shape[1]
    if rows * (s + t) < s * t + s * s + t * t:
        student_NN, teacher_NN = student_NS @ student_NS.T, teacher_NT @ teacher_NT.T
        # A trace of two positive semi-definite matrices: only rounding can take it below 0.
        cross = (student_NN * teacher_NN).sum().clamp(min=0)
        return cross, student_NN.square().sum(), teacher_NN.square().sum()
    return (
        (student_NS.T @ teacher_NT).square().sum(),
        (student_NS.T @ student_NS).square().sum(),
        (teacher_NT.T @ teacher_NT).square().sum(),
    )
