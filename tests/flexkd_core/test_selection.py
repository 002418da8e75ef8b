"""Selection: order, ties and pairing, then overlap and share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexkd_core import jaccard, kept_share, select_units

G = [0.1, 0.5, 0.5, 0.9, 0.0]


def test_rank_order_with_ties_to_the_lower_index() -> None:
    assert select_units(G, 3) == [3, 1, 2]
    assert select_units(G, 2) == [3, 1]
    assert select_units([1.0] * 300, 200) == list(range(200))


def test_pairing_by_index_is_the_same_set_ascending() -> None:
    assert select_units(G, 3, pairing="index") == [1, 2, 3]
    assert select_units([1.0, 2.0], 1, pairing="index") == [1]


def test_zero_and_all_units() -> None:
    assert select_units(G, 0) == []
    assert select_units(G, 5) == [3, 1, 2, 0, 4]


def test_takes_lists_arrays_and_tensors_and_returns_plain_ints() -> None:
    for importance_D in (G, np.array(G), torch.tensor(G)):
        units = select_units(importance_D, 3)
        assert units == [3, 1, 2]
        assert all(type(unit) is int for unit in units)


@settings(max_examples=50)
@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=12), data=st.data())
def test_agrees_with_a_sort_by_value_and_index(values: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(values)))
    expected = sorted(range(len(values)), key=lambda unit: (-values[unit], unit))[:count]
    assert select_units(values, count) == expected


def test_selection_errors() -> None:
    with pytest.raises(ValueError, match="cannot select 6 of 5"):
        select_units(G, 6)
    with pytest.raises(ValueError, match="cannot select -1"):
        select_units(G, -1)
    with pytest.raises(ValueError, match="importance of unit 1 is NaN"):
        select_units([1.0, math.nan], 1)
    with pytest.raises(ValueError, match="must be a vector"):
        select_units([[1.0]], 1)
    with pytest.raises(ValueError, match="'random' is not one of"):
        select_units(G, 1, pairing="random")  # type: ignore[arg-type]


def test_jaccard() -> None:
    assert jaccard([1, 2, 3], [3, 2, 1]) == 1
    assert jaccard([1, 2], [3, 4]) == 0
    assert jaccard([1, 2, 3], [2, 3, 4]) == 0.5
    assert jaccard([], []) == 1
    assert jaccard([], [1]) == 0


def test_kept_share() -> None:
    assert kept_share(G, [3, 1]) == pytest.approx(0.7)
    assert kept_share(G, range(5)) == 1
    assert kept_share(G, []) == 0


@pytest.mark.parametrize(
    ("importance_D", "units", "message"),
    [
        ([0.0, 0.0], [0], "somewhere positive"),
        ([1.0, -1.0], [0], "nowhere negative"),
        (G, [1, 1], "distinct"),
        (G, [5], "in 0 to 4"),
        (G, [-1], "in 0 to 4"),
    ],
)
def test_kept_share_errors(importance_D: list[float], units: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kept_share(importance_D, units)
