"""Orthogonal Procrustes distance between features of different widths.

Shapes: N valid rows, S student units, T teacher units, R = min(N, S) and min(N, T) by side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flexkd_core.losses._inputs import centre_rows, require_same_rows, result_dtype, unit_norm


def procrustes_loss(student_NS: Tensor, teacher_NT: Tensor) -> Tensor:
    """Squared distance after the best rotation: ‖A‖²_F + ‖B‖²_F − 2‖AᵀB‖_*.

    A and B are the features centred over the rows and divided by their Frobenius norm. For S = T
    this is min_Q ‖AQ − B‖²_F over orthogonal Q; for other widths, the same with the narrower side
    padded with zero units, which changes none of the three terms.

    Args:
        student_NS, teacher_NT: features, any float dtype; computed in fp64.

    Returns:
        Unitless fp32 (or fp64) scalar in [0, 2]. 0 with a gradient of 0 when N < 2; a side without
        variance is A = 0: the loss is then 1 (0 if neither side varies), its gradient 0. The
        gradient uses the polar factor of AᵀB, which stays finite where singular values repeat or
        vanish; it cannot be differentiated again.

    Raises:
        ValueError: not two-dimensional, or different numbers of rows.

    Source: arXiv:2509.25253; the closed form is Schönemann 1966, Psychometrika 31.
    """
    require_same_rows(student_NS, teacher_NT)
    dtype = result_dtype(student_NS, teacher_NT)
    if student_NS.shape[0] < 2:
        return student_NS.to(dtype).sum() * 0
    a_NS = unit_norm(centre_rows(student_NS.to(torch.float64)), dim=(0, 1))
    b_NT = unit_norm(centre_rows(teacher_NT.to(torch.float64)), dim=(0, 1))
    # ‖M‖_* is the largest ⟨P, M⟩ over ‖P‖ ≤ 1: the maximizing P as a constant gives both the value
    # and the gradient.
    # (A NaN would make the decomposition fail; it reaches the loss through the products below.)
    polar_ST = _polar_factor(a_NS.detach().nan_to_num(), b_NT.detach().nan_to_num())
    nuclear = ((a_NS @ polar_ST) * b_NT).sum()
    distance = a_NS.square().sum() + b_NT.square().sum() - 2 * nuclear
    return distance.clamp(min=0).to(dtype)  # only rounding can take it below 0


def _polar_factor(a_NS: Tensor, b_NT: Tensor) -> Tensor:
    """U Vᵀ of the singular vectors of AᵀB whose singular value is not 0.

    Computed from the triangular factors of Aᵀ and Bᵀ, whose product is N × N if there are fewer
    rows than units.
    """
    a_SR, a_RN = torch.linalg.qr(a_NS.T)
    b_TR, b_RN = torch.linalg.qr(b_NT.T)
    u, values, v = torch.linalg.svd(a_RN @ b_RN.T, full_matrices=False)
    # For ‖A‖ = ‖B‖ = 1: what fp64 rounding leaves of a 0, with a margin for the sizes.
    used = values > 1e-13
    polar_ST: Tensor = a_SR @ (u * used) @ (v @ b_TR.T)
    return polar_ST
