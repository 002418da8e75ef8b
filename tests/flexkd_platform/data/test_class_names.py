"""Names of numbered classes: shards, mixtures, evaluation sets, skipped rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import SPLITS, check_data, load_evaluation, load_splits
from flexkd_platform.spec import ClassificationTask, Problem

WriteRows = Callable[[str, list[Any]], Path]

NAMES = ["neg", "pos"]


def rows(prefix: str, count: int = 60) -> list[tuple[str, str]]:
    """Texts that end with the name of their class."""
    return [(f"{prefix} {n} {NAMES[n % 2]}", NAMES[n % 2]) for n in range(count)]


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., Path]:
    """`named(file, rows, names)`: Parquet as `datasets` writes it, with a `ClassLabel`."""

    def write(name: str, content: list[tuple[str, str]], names: list[str]) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        number = [names.index(y) if y in names else -1 for _, y in content]
        table = pa.table({"text": [text for text, _ in content], "label": number})
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(metadata), file)
        return file

    return write


def source(path: Path, **settings: Any) -> dict[str, Any]:
    return {"source": "files", "path": str(path), **settings}


def task_of(data: dict[str, Any], **settings: Any) -> ClassificationTask:
    return ClassificationTask.model_validate(
        {"kind": "classification", "data": data, **settings}, strict=False
    )


def mixture(*parts: Path) -> dict[str, Any]:
    return {"source": "mixture", "parts": {f"p{n}": source(p) for n, p in enumerate(parts)}}


def facts(task: ClassificationTask) -> Any:
    found, problems = check_data(task)
    assert problems == [], [str(problem) for problem in problems]
    return found


def only(task: ClassificationTask) -> Problem:
    found, problems = check_data(task)
    assert found is None
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def assert_right(task: ClassificationTask, names: tuple[str, ...] = ("neg", "pos")) -> None:
    """Every text has the class that it ends with."""
    assert facts(task).names == names
    splits = load_splits(task)
    for split in SPLITS:
        for row in getattr(splits, split).to_pylist():
            assert row["text"].endswith(names[row["label"]])


def test_a_file_keeps_its_names(named: Callable[..., Path]) -> None:
    assert_right(task_of(source(named("d.parquet", rows("a"), ["pos", "neg"]))), ("pos", "neg"))


def test_a_skipped_label_is_no_class(named: Callable[..., Path]) -> None:
    withheld = [(f"w {n}", "?") for n in range(7)]
    file = named("d.parquet", [*rows("a"), *withheld], NAMES)
    assert "is negative" in only(task_of(source(file))).message
    task = task_of(source(file, missing="skip"))
    assert_right(task)
    found = facts(task)
    assert found.classes == 2
    assert sum(found.skipped.values()) == 7
    assert sum(map(sum, found.counts.values())) == 60


def test_counts_are_those_without_leaked_rows(named: Callable[..., Path]) -> None:
    named("d/train.parquet", [*rows("a"), ("w", "?")], NAMES)
    folder = named("d/test.parquet", rows("a", 10), NAMES).parent
    found = facts(task_of(source(folder, missing="skip", drop_leaked=True)))
    assert {split: sum(found.counts[split]) for split in SPLITS} == dict(found.sizes)
    assert found.dropped["train"] == 10
    assert found.counts["test"] == (5, 5)


@pytest.mark.parametrize("order", [["pos", "neg"], ["pos", "other", "neg"]])
def test_a_mixture_reads_the_names(named: Callable[..., Path], order: list[str]) -> None:
    one, two = named("a.parquet", rows("a"), NAMES), named("b.parquet", rows("b"), order)
    assert_right(task_of(mixture(one, two)))
    assert_right(task_of(mixture(two, one)))


def test_a_mixture_of_one_order_keeps_the_numbers(named: Callable[..., Path]) -> None:
    order = ["pos", "neg"]
    parts = [named(f"{name}.parquet", rows(name), order) for name in "ab"]
    assert_right(task_of(mixture(*parts)), ("pos", "neg"))


def test_a_mixture_of_names_and_words(named: Callable[..., Path], write_rows: WriteRows) -> None:
    part = named("a.parquet", rows("a"), ["pos", "neg"])
    assert_right(task_of(mixture(part, write_rows("b.csv", rows("b")))))


def test_numbers_without_names_beside_two_orders(
    named: Callable[..., Path], write_rows: WriteRows
) -> None:
    parts = [named("a.parquet", rows("a"), NAMES), named("b.parquet", rows("b"), NAMES[::-1])]
    bare = write_rows("c.csv", [(f"c {n}", n % 2) for n in range(40)])
    problem = only(task_of(mixture(*parts, bare)))
    assert problem.path == "task.data.parts"
    assert problem.message == f"{bare} numbers its classes, and others have names for theirs"


def test_names_that_are_set_for_a_mixture(write_rows: WriteRows) -> None:
    parts = [write_rows(f"{p}.csv", [(f"{p} {n}", n % 2) for n in range(40)]) for p in "ab"]
    assert facts(task_of(mixture(*parts), label_names={"1": "good"})).names == ("0", "good")
    problem = only(task_of(mixture(*parts), label_names={"7": "good"}))
    assert problem.path == "task.label_names"


def test_splits_with_different_orders(named: Callable[..., Path]) -> None:
    named("d/train.parquet", rows("a"), NAMES)
    assert_right(task_of(source(named("d/test.parquet", rows("b"), NAMES[::-1]).parent)))


def test_shards_with_different_orders_are_refused(named: Callable[..., Path]) -> None:
    named("d/train-00000-of-00002.parquet", rows("a"), NAMES)
    folder = named("d/train-00001-of-00002.parquet", rows("b"), NAMES[::-1]).parent
    problem = only(task_of(source(folder)))
    assert problem.path == "task.data.label"
    assert "has the classes neg, pos; " in problem.message


def test_an_evaluation_set_with_another_order(
    named: Callable[..., Path], write_rows: WriteRows
) -> None:
    more = source(named("more.parquet", rows("m", 9), NAMES[::-1]))
    fingerprints = []
    for file in (
        named("d.parquet", rows("a"), NAMES),
        write_rows("d.csv", rows("a")),
        named("e.parquet", rows("a"), NAMES[::-1]),
    ):
        task = task_of(source(file), evaluation={"more": more})
        names = facts(task).names
        table, set_facts = load_evaluation(task, "more")
        assert [names[y] for y in table["label"].to_pylist()] == [y for _, y in rows("m", 9)]
        fingerprints.append(set_facts.fingerprint)
    assert len(set(fingerprints)) == 3


def test_an_evaluation_set_with_a_class_that_train_lacks(named: Callable[..., Path]) -> None:
    more = named("more.parquet", [("x", "other"), ("y", "pos")], ["other", "pos", "neg"])
    task = task_of(source(named("d.parquet", rows("a"), NAMES)), evaluation={"more": source(more)})
    problem = only(task)
    assert problem.path == "task.evaluation.more.label"
    assert "row 1 of" in problem.message
    assert "'other'" in problem.message
