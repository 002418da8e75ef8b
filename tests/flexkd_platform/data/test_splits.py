"""Laws of drawing splits and subsets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from flexkd_platform.data.splits import drawn, subset

TEXTS = [f"text {number}" for number in range(4000)]
SHARES = {"test": 0.1, "validation": 0.2}


def test_a_text_has_one_split_wherever_and_however_often_it_stands() -> None:
    part_N = drawn(TEXTS, SHARES, seed=3)
    doubled_N = drawn([*reversed(TEXTS), *TEXTS], SHARES, seed=3)
    np.testing.assert_array_equal(doubled_N, [*reversed(part_N), *part_N])


@pytest.mark.parametrize("seed", [0, 1])
def test_shares_are_met(seed: int) -> None:
    part_N = drawn(TEXTS, SHARES, seed)
    # Fixed seeds, so this passes always or never; five standard deviations are 0.032.
    assert np.mean(part_N == "test") == pytest.approx(0.1, abs=0.025)
    assert np.mean(part_N == "validation") == pytest.approx(0.2, abs=0.032)


def test_another_seed_is_another_draw() -> None:
    assert (drawn(TEXTS, SHARES, seed=0) != drawn(TEXTS, SHARES, seed=1)).mean() > 0.2


def test_no_shares_leave_everything_in_train() -> None:
    assert set(drawn(TEXTS[:50], {}, seed=0)) == {"train"}


def test_a_subset_keeps_the_order_and_grows_by_adding() -> None:
    table = pa.table({"text": TEXTS, "row": range(len(TEXTS))})
    small = subset(table, 10, "train", seed=0)["row"].to_pylist()
    large = subset(table, 100, "train", seed=0)["row"].to_pylist()
    assert small == sorted(small)
    assert set(small) < set(large)
    assert subset(table, 10, "test", seed=0)["row"].to_pylist() != small


def test_a_subset_of_equal_texts_takes_the_first_ones() -> None:
    table = pa.table({"text": ["same"] * 5, "row": range(5)})
    assert subset(table, 2, "train", seed=0)["row"].to_pylist() == [0, 1]
