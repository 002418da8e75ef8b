"""Stratified splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flexkd_platform.data import SPLITS, load_splits
from flexkd_platform.data.stratified import drawn_by_class
from flexkd_platform.spec import Problem, Task

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

RARE = [(f"text {n}", int(n % 20 == 0)) for n in range(400)]
"""20 of 400 examples have the label 1."""


def counts(task: Task) -> dict[str, Counter[int]]:
    splits = load_splits(task)
    return {name: Counter(getattr(splits, name)["label"].to_pylist()) for name in SPLITS}


def test_every_split_has_its_share_of_every_class(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.csv", RARE)
    for seed in range(5):
        found = counts(task_on(file, stratified=True, subset_seed=seed))
        assert found == {
            "train": {0: 304, 1: 16},
            "validation": {0: 38, 1: 2},
            "test": {0: 38, 1: 2},
        }


def test_words_and_shares(write_rows: WriteRows, task_on: TaskOn) -> None:
    rows = [(text, ["often", "rare"][label]) for text, label in RARE]
    shares = {"validation_share": 0.25, "test_share": 0.5}
    found = counts(task_on(write_rows("d.csv", rows), stratified=True, **shares))
    assert found["validation"] == {0: 95, 1: 5}
    assert found["test"] == {0: 190, 1: 10}


def test_only_the_missing_split_is_drawn(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", RARE)
    folder = write_rows("d/test.csv", [("other", 1)]).parent
    found = counts(task_on(folder, stratified=True))
    assert found == {
        "train": {0: 342, 1: 18},
        "validation": {0: 38, 1: 2},
        "test": {1: 1},
    }


def test_the_order_of_the_rows_has_no_effect(write_rows: WriteRows, task_on: TaskOn) -> None:
    def texts(file: Path) -> dict[str, set[str]]:
        splits = load_splits(task_on(file, stratified=True))
        return {name: set(getattr(splits, name)["text"].to_pylist()) for name in SPLITS}

    assert texts(write_rows("a.csv", RARE)) == texts(write_rows("b.csv", RARE[::-1]))


def test_equal_inputs_share_a_split() -> None:
    keys = [f"text {n % 50}" for n in range(200)]
    table = pa.table({"key": keys, "label": [n % 3 for n in range(200)]})
    part_N = drawn_by_class(table, "key", {"validation": 0.2, "test": 0.2}, seed=0)
    assert len({(key, part) for key, part in zip(keys, part_N, strict=True)}) == 50
    assert set(part_N) == {"train", "validation", "test"}


@pytest.mark.parametrize("rows", range(1, 40))
def test_sizes_are_off_by_at_most_one(rows: int) -> None:
    table = pa.table({"key": [f"text {n}" for n in range(rows)], "label": [0] * rows})
    part_N = drawn_by_class(table, "key", {"validation": 0.15, "test": 0.3}, seed=rows)
    assert abs((part_N == "validation").sum() - 0.15 * rows) <= 1
    assert abs((part_N == "test").sum() - 0.3 * rows) <= 1


def test_where_it_has_no_effect(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d/train.csv", RARE)
    (problem,) = problems(file, "regression", stratified=True)
    assert problem.path == "task.data.stratified"
    assert problem.message == "a regression task has no classes"
    write_rows("d/test.csv", RARE)
    (problem,) = problems(write_rows("d/validation.csv", RARE).parent, stratified=True)
    assert problem.message == "no split is drawn: the source has all three"


def test_broken_labels_are_reported(write_rows: WriteRows, problems: Problems) -> None:
    (problem,) = problems(write_rows("d.csv", [*RARE, ("bad", 0.5)]), stratified=True)
    assert problem.path == "task.data.label"
