"""Distance between the Gram matrices of features of different widths.

Shapes: N valid rows, S student units, T teacher units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flexkd_core.losses._inputs import require_same_rows, result_dtype, root, unit_norm


def gram_loss(student_NS: Tensor, teacher_NT: Tensor) -> Tensor:
    """‖AAᵀ − BBᵀ‖_F, with A and B the features divided by their Frobenius norm.

    It compares the similarities between rows, so it is invariant to a rotation of either side's
    units and to a positive scale, but not to a shift: the features are not centred.

    Args:
        student_NS, teacher_NT: features, any float dtype; computed in fp64.

    Returns:
        Unitless fp32 (or fp64) scalar in [0, √2]. 0 with a gradient of 0 for N < 2 and if the two
        matrices are equal, where the true slope is not defined. A side of zeros is A = 0.

    Raises:
        ValueError: not two-dimensional, or different numbers of rows.

    Source: arXiv:2509.25253.
    """
    require_same_rows(student_NS, teacher_NT)
    dtype = result_dtype(student_NS, teacher_NT)
    if student_NS.shape[0] < 2:
        return student_NS.to(dtype).sum() * 0
    a_NS = unit_norm(student_NS.to(torch.float64), dim=(0, 1))
    b_NT = unit_norm(teacher_NT.to(torch.float64), dim=(0, 1))
    if len(a_NS) <= a_NS.shape[1] + b_NT.shape[1]:
        squared = (a_NS @ a_NS.T - b_NT @ b_NT.T).square().sum()
    else:
        # With many rows, N × N is too large: compute the square's three terms as products over
        # units. Their rounding leaves up to about 1e-8 in the root if the matrices are equal.
        squared = (a_NS.T @ a_NS).square().sum() + (b_NT.T @ b_NT).square().sum()
        squared = (squared - 2 * (a_NS.T @ b_NT).square().sum()).clamp(min=0)
    return root(squared).to(dtype)
