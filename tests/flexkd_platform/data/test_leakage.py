"""Leakage between splits: counted and named, or left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.spec import FilesData, Problem, Task

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

TRAIN = [(f"text {n}", n % 2) for n in range(100)]
OTHERS = [(f"other {n}", n % 2) for n in range(20)]


def texts(task: Task) -> dict[str, set[str]]:
    splits = load_splits(task)
    return {name: set(getattr(splits, name)["text"].to_pylist()) for name in SPLITS}


def facts(task: Task) -> Any:
    found, problems = check_data(task)
    assert problems == [], [str(problem) for problem in problems]
    return found


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def leaking(write_rows: WriteRows) -> Path:
    """9 of 19 test rows in train, 5 of 15 validation rows in train, 4 of them in test too."""
    write_rows("d/train.csv", TRAIN)
    write_rows("d/test.csv", [*TRAIN[:9], *OTHERS[:10]])
    return write_rows("d/validation.csv", [*TRAIN[5:10], *OTHERS[10:]]).parent


def test_leakage_is_named(write_rows: WriteRows, task_on: TaskOn) -> None:
    notes = facts(task_on(leaking(write_rows))).notes
    assert [(note.path, note.message) for note in notes] == [
        ("task.data", "4 of 15 validation examples are also in test"),
        ("task.data", "9 of 19 test examples are also in train"),
        ("task.data", "5 of 15 validation examples are also in train"),
    ]
    assert "drop_leaked: true" in notes[1].remedy


def test_splits_without_leakage(write_rows: WriteRows, task_on: TaskOn) -> None:
    assert facts(task_on(write_rows("d.csv", [*TRAIN, *TRAIN]))).notes == ()
    write_rows("e/train.csv", TRAIN)
    assert facts(task_on(write_rows("e/test.csv", OTHERS).parent)).notes == ()


def test_test_keeps_what_is_in_several_splits(write_rows: WriteRows, task_on: TaskOn) -> None:
    task = task_on(leaking(write_rows), drop_leaked=True)
    found = texts(task)
    assert found["test"] == {text for text, _ in [*TRAIN[:9], *OTHERS[:10]]}
    assert found["validation"] == {"text 9", *(text for text, _ in OTHERS[10:])}
    assert found["train"] == {text for text, _ in TRAIN[10:]}
    (note,) = facts(task).notes
    assert note.message.endswith("are left out: 10 of train, 4 of validation")
    assert facts(task).dropped == load_splits(task).dropped
    assert facts(task).dropped == {"train": 10, "validation": 4, "test": 0}


def test_a_split_that_is_drawn_afterwards(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", [*TRAIN[:30], *OTHERS]).parent
    found = texts(task_on(folder, drop_leaked=True, train=50))
    assert not found["test"] & (found["train"] | found["validation"])
    assert len(found["train"]) == 50


def test_the_same_text_with_another_label_leaks(write_rows: WriteRows, task_on: TaskOn) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", [(text, 1 - y) for text, y in TRAIN[:3]] + OTHERS).parent
    messages = [note.message for note in facts(task_on(folder)).notes]
    assert any(" of 23 test examples are also in train" in message for message in messages)


def test_nothing_is_left(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", TRAIN)
    folder = write_rows("d/test.csv", TRAIN).parent
    problem = only(problems(folder, drop_leaked=True))
    assert problem.path == "task.data.drop_leaked"
    assert problem.message == "all 100 examples of train are in another split too"


def test_drawn_splits_cannot_leak(write_rows: WriteRows, problems: Problems) -> None:
    problem = only(problems(write_rows("d.csv", TRAIN), drop_leaked=True))
    assert problem.path == "task.data.drop_leaked"
    assert problem.remedy == "leave it out"


def test_evaluation_sets(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("more.csv", [*TRAIN, *OTHERS])
    task = task_on(write_rows("d.csv", TRAIN))
    rows = facts(task).sizes["train"]
    more = {"more": FilesData(source="files", path=str(file))}
    (note,) = facts(task.model_copy(update={"evaluation": more})).notes
    assert note.path == "task.evaluation.more"
    assert note.message == f"{rows} of 120 examples are also in train"
    data = FilesData(source="files", path=str(file), drop_leaked=True, stratified=True)
    _, problems = check_data(task.model_copy(update={"evaluation": {"more": data}}))
    assert [problem.path for problem in problems] == [
        "task.evaluation.more.drop_leaked",
        "task.evaluation.more.stratified",
    ]
