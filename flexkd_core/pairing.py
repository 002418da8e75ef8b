"""Pairing of student units with the selected teacher units by their features.

Shapes: N rows of a sample, S student units, T teacher units, C directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]


def matched_units(
    student_NS: ArrayLike,
    teacher_NT: ArrayLike,
    units: Sequence[int],
    *,
    fixed: Mapping[int, int] | None = None,
) -> list[int]:
    """The selected units in an order whose sum of correlations Σ_m C(s_m, t_{i_m}) is largest.

    The Hungarian assignment of the selected teacher units to the student's positions. C is the
    Pearson correlation over the rows, fp64; 0 for a unit without variance.

    The same arguments give the same order. SciPy returns one of several assignments of exactly the
    same sum, and the identity where all correlations are equal: units then stay in the order of
    `units`, which is by rank.

    Args:
        student_NS: features of the student.
        teacher_NT: features of all teacher units on the same rows.
        units: the S selected units, columns of `teacher_NT`.
        fixed: position → unit of pairs that are given; the others are assigned.

    Returns:
        The unit of each position.

    Raises:
        ValueError: fewer than two rows or different numbers of them, values that are not finite,
            not S different units, or fixed pairs that are no position and selected unit each.
    """
    fixed = dict(fixed or {})
    student_NS, teacher_NT = _features(student_NS, teacher_NT)
    positions = student_NS.shape[1]
    if len(units) != positions or len(set(units)) != positions:
        raise ValueError(
            f"{positions} student units need {positions} different units, not {len(units)}"
        )
    if not set(fixed) <= set(range(positions)) or not set(fixed.values()) <= set(units):
        raise ValueError("fixed pairs must be positions of the student and selected units")
    if len(set(fixed.values())) != len(fixed):
        raise ValueError("a selected unit is in two fixed pairs")
    open_ = [position for position in range(positions) if position not in fixed]
    taken = set(fixed.values())
    left = [unit for unit in units if unit not in taken]
    found = dict(fixed)
    if open_:
        correlation = _correlation(student_NS[:, open_], teacher_NT[:, left])
        rows, columns = linear_sum_assignment(correlation, maximize=True)
        found |= {open_[row]: left[column] for row, column in zip(rows, columns, strict=True)}
    return [found[position] for position in range(positions)]


def matched_directions(
    student_NS: ArrayLike, teacher_NC: ArrayLike
) -> tuple[list[int], list[float]]:
    """Directions in an order whose sum of |correlations| with the student's units is largest.

    Args:
        student_NS: features of the student.
        teacher_NC: the teacher's features along C ≥ S directions, whose signs are arbitrary.

    Returns:
        The direction of each position, and 1 or −1, the sign of its correlation there.

    Raises:
        ValueError: fewer than two rows or different numbers of them, values that are not finite, or
            fewer directions than student units.
    """
    student_NS, teacher_NC = _features(student_NS, teacher_NC)
    if teacher_NC.shape[1] < student_NS.shape[1]:
        raise ValueError(
            f"{student_NS.shape[1]} student units need as many directions, not "
            f"{teacher_NC.shape[1]}"
        )
    correlation_SC = _correlation(student_NS, teacher_NC)
    rows, columns = linear_sum_assignment(np.abs(correlation_SC), maximize=True)
    signs = [1.0 if correlation_SC[r, c] >= 0 else -1.0 for r, c in zip(rows, columns, strict=True)]
    return [int(column) for column in columns], signs


def origin_units(origin: Sequence[int], units: Sequence[int]) -> dict[int, int]:
    """Position → unit for each student unit that was cut from one of the selected units.

    Args:
        origin: the teacher unit that each student unit was cut from.
        units: the selected units.
    """
    selected = set(units)
    return {position: unit for position, unit in enumerate(origin) if unit in selected}


def _features(student: ArrayLike, teacher: ArrayLike) -> tuple[Array, Array]:
    student_NS, teacher_NT = (np.asarray(side, dtype=np.float64) for side in (student, teacher))
    if student_NS.ndim != 2 or teacher_NT.ndim != 2 or len(student_NS) != len(teacher_NT):
        raise ValueError(
            f"student {student_NS.shape} and teacher {teacher_NT.shape} must both be "
            "(rows, units) with the same number of rows"
        )
    if len(student_NS) < 2:
        raise ValueError("a correlation needs at least two rows: draw more examples")
    if not (np.isfinite(student_NS).all() and np.isfinite(teacher_NT).all()):
        raise ValueError("features that are not finite cannot be matched")
    return student_NS, teacher_NT


def _correlation(student_NS: Array, teacher_NT: Array) -> Array:
    correlation_ST: Array = _standardised(student_NS).T @ _standardised(teacher_NT)
    return correlation_ST


def _standardised(features_ND: Array) -> Array:
    """Centred columns of norm 1; 0 without variance."""
    centred_ND = features_ND - features_ND.mean(axis=0)
    norm_D = np.linalg.norm(centred_ND, axis=0)
    size_D = np.linalg.norm(features_ND, axis=0)
    dead_D = norm_D <= 8 * np.finfo(np.float64).eps * size_D
    return np.where(dead_D, 0.0, centred_ND / np.where(dead_D, 1.0, norm_D))
