"""Pairing by correlation: known permutations, every assignment tried, fixed pairs, errors."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from flexkd_core.pairing import matched_directions, matched_units, origin_units


def drawn(rows: int, units: int, seed: int) -> np.ndarray:
    found: np.ndarray = np.random.default_rng(seed).normal(size=(rows, units))
    return found


def test_units_that_were_permuted_scaled_and_shifted_are_found_again() -> None:
    teacher_NT = drawn(30, 8, 0)
    units = [6, 1, 4, 3]
    student_NS = teacher_NT[:, [1, 3, 6, 4]] * [2, 0.01, 500, 1] + [5, 0, -3, 100]
    assert matched_units(student_NS, teacher_NT, units) == [1, 3, 6, 4]


@pytest.mark.parametrize("seed", range(5))
def test_has_the_largest_sum_of_correlations_of_all_assignments(seed: int) -> None:
    student_NS, teacher_NT = drawn(6, 5, seed), drawn(6, 7, seed + 100)
    units = [5, 0, 3, 6, 2]

    def total(order: tuple[int, ...] | list[int]) -> float:
        pairs = enumerate(order)
        return sum(np.corrcoef(student_NS[:, m], teacher_NT[:, i])[0, 1] for m, i in pairs)

    best = max(permutations(units), key=total)
    assert matched_units(student_NS, teacher_NT, units) == list(best)


def test_fixed_pairs_stay_and_the_others_are_matched() -> None:
    student_NS, teacher_NT = drawn(9, 4, 1), drawn(9, 6, 2)
    found = matched_units(student_NS, teacher_NT, [0, 2, 4, 5], fixed={1: 4, 3: 0})
    assert (found[1], found[3]) == (4, 0)
    assert sorted(found) == [0, 2, 4, 5]
    rest = [[np.corrcoef(student_NS[:, m], teacher_NT[:, i])[0, 1] for i in (2, 5)] for m in (0, 2)]
    straight = rest[0][0] + rest[1][1] >= rest[0][1] + rest[1][0]
    assert [found[0], found[2]] == ([2, 5] if straight else [5, 2])
    everything = {0: 2, 1: 4, 2: 5, 3: 0}
    assert matched_units(student_NS, teacher_NT, [0, 2, 4, 5], fixed=everything) == [2, 4, 5, 0]


def test_a_unit_without_variance_takes_what_is_left() -> None:
    teacher_NT = drawn(20, 3, 3)
    student_NS = teacher_NT[:, [2, 0, 1]].copy()
    student_NS[:, 1] = 0.1
    assert matched_units(student_NS, teacher_NT, [0, 1, 2]) == [2, 0, 1]


def test_equal_correlations_keep_the_order_by_rank() -> None:
    teacher_NT = drawn(12, 7, 5)
    units = [6, 2, 5, 0]
    dead_NS = np.ones((12, 4))
    assert matched_units(dead_NS, teacher_NT, units) == units
    assert matched_units(dead_NS, teacher_NT, units, fixed={1: 0}) == [6, 0, 2, 5]
    # Two dead units, and copies of one unit on both sides: the rest is in the order by rank.
    teacher_NT[:, 5] = teacher_NT[:, 2]
    student_NS = np.column_stack([teacher_NT[:, [2, 2]], dead_NS[:, :2]])
    for _ in range(3):
        assert matched_units(student_NS, teacher_NT, units) == [2, 5, 6, 0]


def test_directions_are_matched_with_their_sign() -> None:
    teacher_NC = drawn(30, 5, 4)
    student_NS = teacher_NC[:, [3, 0, 4]] * [-2, 1, -0.1] + 1
    assert matched_directions(student_NS, teacher_NC) == ([3, 0, 4], [-1.0, 1.0, -1.0])


def test_origin_units_are_those_that_are_selected() -> None:
    assert origin_units([0, 3, 6, 9], [9, 1, 3, 2]) == {1: 3, 3: 9}
    assert origin_units([], [1]) == {}


def test_errors() -> None:
    teacher_NT = drawn(5, 4, 0)
    with pytest.raises(ValueError, match="need 2 different units, not 3"):
        matched_units(teacher_NT[:, :2], teacher_NT, [0, 1, 2])
    with pytest.raises(ValueError, match="at least two rows"):
        matched_units(teacher_NT[:1, :1], teacher_NT[:1], [0])
    with pytest.raises(ValueError, match="same number of rows"):
        matched_units(teacher_NT[:3, :1], teacher_NT, [0])
    with pytest.raises(ValueError, match="not finite"):
        matched_units(np.full((5, 1), np.nan), teacher_NT, [0])
    with pytest.raises(ValueError, match="positions of the student and selected units"):
        matched_units(teacher_NT[:, :2], teacher_NT, [0, 1], fixed={0: 3})
    with pytest.raises(ValueError, match="in two fixed pairs"):
        matched_units(teacher_NT[:, :2], teacher_NT, [0, 1], fixed={0: 1, 1: 1})
    with pytest.raises(ValueError, match="need as many directions, not 1"):
        matched_directions(teacher_NT[:, :2], teacher_NT[:, :1])
