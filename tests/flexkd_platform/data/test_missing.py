"""Rows without a label: an error, or skipped and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import SPLITS, check_data, load_evaluation, load_splits
from flexkd_platform.spec import FilesData, Problem, Task

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

NUMBERS = [(f"text {n}", n % 2) for n in range(40)]
WORDS = [(f"text {n}", ["no", "yes"][n % 2]) for n in range(40)]


def labels(task: Task) -> dict[str, Any]:
    splits = load_splits(task)
    return {
        row["text"]: row["label"] for name in SPLITS for row in getattr(splits, name).to_pylist()
    }


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
@pytest.mark.parametrize("missing", [-1, None])
def test_rows_without_a_class(
    write_rows: WriteRows, task_on: TaskOn, problems: Problems, suffix: str, missing: Any
) -> None:
    nothing = "" if missing is None and suffix in (".csv", ".tsv") else missing
    rows = [("first", nothing), *NUMBERS, ("last", nothing)]
    file = write_rows(f"d{suffix}", rows)
    problem = only(problems(file))
    assert problem.path == "task.data.label"
    assert problem.message.startswith(f"row 1 of {file} (and 1 more)")
    assert "missing: skip" in problem.remedy
    facts, found = check_data(task_on(file, missing="skip"))
    assert found == []
    assert facts is not None
    assert facts.skipped == {"train": 2, "validation": 0, "test": 0}
    assert [note.message for note in facts.notes] == [
        "rows without a label are skipped: 2 of train"
    ]
    assert labels(task_on(file, missing="skip")) == dict(NUMBERS)


@pytest.mark.parametrize("nothing", ["", "  ", "-1", "-1.0"])
def test_words(write_rows: WriteRows, task_on: TaskOn, nothing: str) -> None:
    file = write_rows("d.csv", [*WORDS, ("last", nothing)])
    found = labels(task_on(file, missing="skip"))
    assert found == {text: int(word == "yes") for text, word in WORDS}
    facts, _ = check_data(task_on(file, missing="skip"))
    assert facts is not None
    assert facts.classes == 2


def test_minus_one_is_a_number_of_a_regression(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.csv", [*NUMBERS, ("last", -1), ("none", "")])
    found = labels(task_on(file, "regression", missing="skip"))
    assert found["last"] == -1
    assert "none" not in found


def test_no_numbers_of_json(tmp_path: Path, task_on: TaskOn) -> None:
    rows = [*NUMBERS, ("nan", float("nan"))]
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    assert "nan" not in labels(task_on(tmp_path / "d.jsonl", "regression", missing="skip"))
    assert "nan" not in labels(task_on(tmp_path / "d.jsonl", missing="skip"))


def test_categories(tmp_path: Path, task_on: TaskOn) -> None:
    words = pa.array([*["no", "yes"] * 20, None]).dictionary_encode()
    table = pa.table({"text": [f"text {n}" for n in range(41)], "label": words})
    pq.write_table(table, tmp_path / "d.parquet")
    assert len(labels(task_on(tmp_path / "d.parquet", missing="skip"))) == 40


def test_rows_keep_their_numbers_in_messages(write_rows: WriteRows, problems: Problems) -> None:
    rows = [("a", -1), ("b", -1), *NUMBERS, ("c", 0.5), ("", 1), ("d", -1)]
    file = write_rows("d.csv", rows)
    messages = {problem.message for problem in problems(file, missing="skip")}
    assert messages == {
        f"row 43 of {file}: label '0.5' is not a whole number",
        f"row 44 of {file} has no text",
    }


def test_a_split_without_labels(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", NUMBERS)
    file = write_rows("d/test.csv", [(text, -1) for text, _ in NUMBERS])
    problem = only(problems(file.parent, missing="skip"))
    assert problem.message == f"no row of {file} has a label"


def test_only_one_class_is_left(write_rows: WriteRows, problems: Problems) -> None:
    rows = [(text, 1 if label else -1) for text, label in NUMBERS]
    problem = only(problems(write_rows("d.csv", rows), missing="skip"))
    assert "training examples have the label" in problem.message
    assert "skipped without a label: 20 rows: if -1 is a class, write 0 for it" in problem.remedy


def test_evaluation_sets(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("more.csv", [*NUMBERS[:5], ("last", -1)])
    more = FilesData(source="files", path=str(file), missing="skip")
    task = task_on(write_rows("d.csv", NUMBERS)).model_copy(update={"evaluation": {"more": more}})
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    assert (facts.evaluation["more"].rows, facts.evaluation["more"].skipped) == (5, 1)
    table, set_facts = load_evaluation(task, "more")
    assert table.num_rows == 5
    assert set_facts == facts.evaluation["more"]
