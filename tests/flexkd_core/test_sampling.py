"""Draws by hash: nested, without replacement, uniform, the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chisquare

from flexkd_core.sampling import drawn_order, drawn_rows, drawn_stratified


def splitmix64(state: int) -> int:
    """One output, in Python's integers; Steele, Lea & Flood 2014, as in Java's SplittableRandom."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_splitmix64_of_the_reference_has_its_published_first_output() -> None:
    # First output of the C reference for seed 0 (prng.di.unimi.it/splitmix64.c).
    assert splitmix64(0) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("seed", [0, 1, 2**63 + 5])
def test_the_order_is_that_of_the_hashes(seed: int) -> None:
    first = splitmix64(seed % 2**64)
    expected = sorted(range(50), key=lambda index: splitmix64(index ^ first))
    assert drawn_order(50, seed).tolist() == expected


@given(total=st.integers(0, 200), seed=st.integers(0, 2**40), data=st.data())
def test_draws_are_distinct_sorted_and_nested(total: int, seed: int, data: st.DataObject) -> None:
    many = data.draw(st.integers(0, total))
    few = data.draw(st.integers(0, many))
    rows = drawn_rows(total, many, seed).tolist()
    assert rows == sorted(set(rows))
    assert len(rows) == many
    assert set(drawn_rows(total, few, seed).tolist()) <= set(rows)
    assert drawn_rows(total, total, seed).tolist() == list(range(total))


def test_every_example_is_drawn_equally_often_and_seeds_are_independent() -> None:
    """Fixed seeds: the outcome is determined. The tests' own false-alarm rate is 1e-3 each."""
    counts_N = np.zeros(100)
    shared = 0
    before: set[int] = set()
    for seed in range(400):
        rows = set(drawn_rows(100, 25, seed).tolist())
        counts_N[list(rows)] += 1
        shared += len(rows & before)
        before = rows
    # Without replacement counts vary less than a multinomial's: the test is conservative.
    assert chisquare(counts_N).pvalue > 1e-3
    assert binomtest(shared, 399 * 25, 0.25).pvalue > 1e-3


@pytest.mark.parametrize(("count", "expected"), [(8, [4, 2, 2]), (4, [2, 1, 1]), (3, [1, 1, 1])])
def test_strata_are_drawn_in_proportion(count: int, expected: list[int]) -> None:
    strata_N = np.array([0] * 40 + [1] * 20 + [2] * 20)
    rows = drawn_stratified(strata_N, count, 3)
    assert np.bincount(strata_N[rows], minlength=3).tolist() == expected


def test_a_rare_stratum_is_drawn_once_if_the_count_allows_it() -> None:
    strata_N = np.array([0] * 500 + [7] * 2)
    assert (strata_N[drawn_stratified(strata_N, 10, 0)] == 7).sum() == 1
    assert len(drawn_stratified(strata_N, 10, 0)) == 10
    assert (strata_N[drawn_stratified(strata_N, 1, 0)] == 7).sum() == 0


@given(
    strata=st.lists(st.integers(0, 4), max_size=60),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_stratified_draws_have_the_size_and_are_within_one_of_the_share(
    strata: list[int], seed: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, len(strata)))
    rows = drawn_stratified(strata, count, seed).tolist()
    assert len(set(rows)) == count
    names = sorted(set(strata))
    for name in names:
        share = count * strata.count(name) / len(strata)
        found = sum(strata[row] == name for row in rows)
        assert found >= int(share) - len(names)
        assert found <= share + 1 or found == 1
        if count >= len(names):
            assert found >= 1


def test_errors() -> None:
    with pytest.raises(ValueError, match="cannot draw 5 of 4"):
        drawn_rows(4, 5, 0)
    with pytest.raises(ValueError, match="at least 0"):
        drawn_order(-1, 0)
    with pytest.raises(ValueError, match="cannot draw 3"):
        drawn_stratified([1, 2], 3, 0)
