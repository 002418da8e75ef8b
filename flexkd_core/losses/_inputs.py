"""Checks and transformations of inputs that all losses share.

Shapes: N valid rows, D units of one side, S units shared by both sides.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "sum", "none"]
"""How a logit loss reduces its values per row; "none" returns all of them, (N,)."""


def require_same_shape(student: Tensor, teacher: Tensor, layout: str) -> None:
    """Raise ValueError, naming both shapes, unless both are 2-d and of one shape.

    Args:
        student, teacher: the two sides of a loss.
        layout: what the two dimensions are, for the message: "(rows, units)".
    """
    if student.shape != teacher.shape or student.ndim != 2:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} "
            f"must both be {layout} of one shape"
        )


def require_same_rows(student: Tensor, teacher: Tensor) -> None:
    """Raise ValueError, naming both shapes, unless both are 2-d with as many rows."""
    if student.ndim != 2 or teacher.ndim != 2 or student.shape[0] != teacher.shape[0]:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} "
            "must both be (rows, units) with the same number of rows"
        )


def result_dtype(student: Tensor, teacher: Tensor) -> torch.dtype:
    """The dtype a loss returns: fp32, or fp64 when either side is fp64."""
    return torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)


def centre_rows(features_ND: Tensor) -> Tensor:
    """Subtract each unit's mean over the rows; a unit without variance becomes exactly 0.

    Args:
        features_ND: at least one row, fp32 or fp64.

    Returns:
        Centred features of the same shape and dtype. The gradient of a unit without variance is 0.
    """
    centred_ND = features_ND - features_ND.mean(dim=0)
    # A constant such as 0.1 leaves a residue of its last bit, which a division by its own norm
    # would amplify to 1: spread below a few bits of the magnitude is rounding, not variance.
    floor_D = features_ND.square().sum(dim=0) * (4 * torch.finfo(features_ND.dtype).eps) ** 2
    power_D = centred_ND.square().sum(dim=0)
    # Not `>`: a NaN is not rounding, and must reach the loss.
    dead_D = (power_D <= floor_D) | (power_D <= torch.finfo(features_ND.dtype).tiny)
    return torch.where(dead_D, 0.0, centred_ND)


def unit_weights(weights_S: Tensor | None, features_NS: Tensor) -> Tensor:
    """Weights of the units that add up to their number S; ones for None.

    Args:
        weights_S: not negative; only their ratios count.
        features_NS: gives S, dtype and device.

    Raises:
        ValueError: not one weight a unit, a weight is negative or not finite, or all are 0.
    """
    if weights_S is None:
        return features_NS.new_ones(features_NS.shape[1])
    if weights_S.shape != features_NS.shape[1:]:
        raise ValueError(
            f"weights {tuple(weights_S.shape)} do not fit {features_NS.shape[1]} units: "
            "give one each"
        )
    # In fp64: eigenvalues of gradients may be as small as 1e-30.
    wide_S = weights_S.to(torch.float64)
    if not bool(torch.isfinite(wide_S).all()) or bool((wide_S < 0).any()) or not bool(wide_S.any()):
        raise ValueError("weights must be finite, not negative, and not all 0")
    return (wide_S * (len(wide_S) / wide_S.sum())).to(features_NS)


def unit_norm(features: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Divide by the Euclidean norm along `dim`; a zero vector stays 0, with a gradient of 0."""
    power = features.square().sum(dim=dim, keepdim=True)
    # sqrt has an infinite slope at 0: zero vectors get a harmless 1 before the root.
    return features / torch.where(power == 0, 1.0, power).sqrt() * (power != 0)


def root(value: Tensor) -> Tensor:
    """Square root with a gradient of 0 at 0, where the true slope is infinite."""
    return torch.where(value == 0, 1.0, value).sqrt() * (value != 0)


def mean_over_rows(loss_N: Tensor) -> Tensor:
    """Mean over the rows; 0 on the graph for no rows, where `Tensor.mean` gives NaN."""
    return loss_N.sum() / max(loss_N.shape[0], 1)


def reduce_rows(loss_N: Tensor, reduction: Reduction) -> Tensor:
    """The mean or sum over the rows, or the rows themselves.

    Raises:
        ValueError: the reduction is not one of "mean", "sum", "none".
    """
    if reduction == "mean":
        return mean_over_rows(loss_N)
    if reduction == "sum":
        return loss_N.sum()
    if reduction == "none":
        return loss_N
    raise ValueError(f"reduction {reduction!r} is not one of 'mean', 'sum', 'none'")


def require_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is a positive, finite number."""
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature {temperature} must be a positive, finite number")
