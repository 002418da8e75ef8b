"""Selection: order, ties and pairing, then overlap and share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexkd_core import jaccard, kept_share, pair_agreement, select_diverse, select_units

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
    for infinite in (math.inf, -math.inf):
        with pytest.raises(ValueError, match="importance of unit 2 is infinite"):
            select_units([1.0, 3.0, infinite], 1)
    with pytest.raises(ValueError, match="must be a vector"):
        select_units([[1.0]], 1)
    with pytest.raises(ValueError, match="'random' is not one of"):
        select_units(G, 1, pairing="random")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="order 'random' is not one of"):
        select_units(G, 1, order="random")  # type: ignore[arg-type]


def test_the_lowest_units_are_the_control() -> None:
    assert select_units(G, 3, order="lowest") == [4, 0, 1]
    assert select_units(G, 3, order="lowest", pairing="index") == [0, 1, 4]


# --- diverse units -----------------------------------------------------------------------------


def features(seed: int = 0, rows: int = 60, units: int = 8) -> np.ndarray:
    draw = np.random.default_rng(seed)
    found: np.ndarray = draw.normal(size=(rows, units)) @ draw.normal(size=(units, units))
    return found


def test_uncorrelated_units_are_selected_by_importance() -> None:
    variance_DD = np.diag([4.0, 1e-6, 1.0, 9.0, 1.0])
    assert select_diverse(G, variance_DD, 5) == select_units(G, 5)


def test_a_copy_comes_after_everything_that_matters() -> None:
    feature_ND = features(units=4)
    feature_ND = np.column_stack([feature_ND, 3 * feature_ND[:, 0] + 2])
    importance_D = [0.9, 0.1, 0.2, 0.3, 0.8]
    selected = select_diverse(importance_D, np.cov(feature_ND.T), 5)
    assert selected[0] == 0
    assert selected[-1] == 4
    assert select_units(importance_D, 2) == [0, 4]


@pytest.mark.parametrize("seed", range(4))
def test_is_the_greedy_choice_by_regression(seed: int) -> None:
    feature_ND = features(seed)
    importance_D = np.random.default_rng(seed + 50).uniform(0.1, 1, size=8)
    expected: list[int] = []
    for _ in range(6):
        values = []
        for unit in range(8):
            centred_N = feature_ND[:, unit] - feature_ND[:, unit].mean()
            residual_N = centred_N
            if expected:
                known_NE = feature_ND[:, expected] - feature_ND[:, expected].mean(0)
                solution, *_ = np.linalg.lstsq(known_NE, centred_N, rcond=None)
                residual_N = centred_N - known_NE @ solution
            share = (residual_N**2).sum() / (centred_N**2).sum()
            values.append(-1.0 if unit in expected else importance_D[unit] * share)
        expected.append(int(np.argmax(values)))
    assert select_diverse(importance_D, np.cov(feature_ND.T), 6) == expected


def test_units_without_variance_come_last_and_their_order_is_that_of_their_index() -> None:
    covariance_DD = np.cov(features(units=5).T)
    covariance_DD[[1, 3]] = covariance_DD[:, [1, 3]] = 0
    selected = select_diverse([0.1, 0.9, 0.1, 0.9, 0.1], covariance_DD, 5)
    assert selected[3:] == [1, 3]


def test_what_is_explained_already_follows_by_importance() -> None:
    """9 examples vary in 8 directions of 20: after 8 units every gain is rounding."""
    feature_ND = np.random.default_rng(1).normal(size=(9, 20))
    feature_ND[:, [3, 7]] = 5.0
    importance_D = np.random.default_rng(2).permutation(np.arange(1.0, 21))
    selected = select_diverse(importance_D, np.cov(feature_ND.T), 20)
    rest = [unit for unit in selected[8:] if unit not in (3, 7)]
    assert selected[-2:] == sorted((3, 7), key=lambda unit: -importance_D[unit])
    assert rest == sorted(rest, key=lambda unit: -importance_D[unit])
    assert sorted(selected) == list(range(20))


def test_diverse_errors() -> None:
    with pytest.raises(ValueError, match="nowhere negative"):
        select_diverse([1.0, -1.0], np.eye(2), 1)
    with pytest.raises(ValueError, match=r"covariance \(3, 3\) of 2 units"):
        select_diverse([1.0, 1.0], np.eye(3), 1)
    with pytest.raises(ValueError, match="cannot select 3 of 2"):
        select_diverse([1.0, 1.0], np.eye(2), 3)


# --- comparison --------------------------------------------------------------------------------


def test_pairs_agree_where_the_position_has_the_same_unit() -> None:
    assert pair_agreement([3, 1, 2], [3, 2, 1]) == pytest.approx(1 / 3)
    assert jaccard([3, 1, 2], [3, 2, 1]) == 1
    assert pair_agreement([], []) == 1
    with pytest.raises(ValueError, match="selections of 1 and 2 units"):
        pair_agreement([1], [1, 2])


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
