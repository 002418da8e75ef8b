"""Sets that are only measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flexkd_platform.data import SetFacts, check_data, load_evaluation
from flexkd_platform.spec import (
    BuiltinData,
    BuiltinDocstrings,
    ClassificationTask,
    FilesData,
    InstructionTask,
    Problem,
    RegressionTask,
    SpecError,
    Task,
)

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]

ROWS = [(f"text {n}", n % 2) for n in range(60)]
WORDS = [(text, ["neg", "pos"][label]) for text, label in ROWS]


def examples(task: Task, name: str, fingerprint: str | None = None) -> pa.Table:
    return load_evaluation(task, name, fingerprint)[0]


def files(path: Path, **settings: Any) -> FilesData:
    return FilesData(source="files", path=str(path), **settings)


def with_sets(task: Task, **sets: Any) -> Task:
    return task.model_copy(update={"evaluation": sets})


def facts_of(task: Task) -> dict[str, SetFacts]:
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    return dict(facts.evaluation)


def problems_of(task: Task) -> list[Problem]:
    facts, problems = check_data(task)
    assert (facts is None) == bool(problems)
    return problems


def test_all_of_a_file_in_its_order(write_rows: WriteRows, task_on: TaskOn) -> None:
    other = [(f"other {n}", n % 2) for n in range(7)]
    task = with_sets(
        task_on(write_rows("d.csv", ROWS)), other=files(write_rows("other.jsonl", other))
    )
    table = examples(task, "other")
    assert [(row["text"], row["label"]) for row in table.to_pylist()] == other
    assert table.schema.names == ["text", "label"]
    assert facts_of(task)["other"].rows == 7


def test_a_folder_s_test_split(write_rows: WriteRows, task_on: TaskOn) -> None:
    main = task_on(write_rows("d.csv", ROWS))
    folder = write_rows("e/test.tsv", ROWS[:5]).parent
    task = with_sets(main, e=files(folder))
    assert len(examples(task, "e")) == 5  # no train file is needed
    write_rows("e/train.tsv", ROWS)
    assert len(examples(task, "e")) == 5
    (folder / "test.tsv").unlink()
    assert len(examples(task, "e")) == 60
    (folder / "train.tsv").unlink()
    (problem,) = problems_of(task)
    assert problem.path == "task.evaluation.e.path"
    assert problem.message == (
        f"{folder} contains neither a test nor a train file (the folder is empty)"
    )


def test_a_subset(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.csv", ROWS)
    task = with_sets(task_on(file), few=files(file, test=9), more=files(file, test=20))
    few, more = (
        [row["text"] for row in examples(task, name).to_pylist()] for name in ("few", "more")
    )
    assert len(few) == 9
    assert set(few) < set(more)
    assert {name: facts.rows for name, facts in facts_of(task).items()} == {"few": 9, "more": 20}
    (problem,) = problems_of(with_sets(task_on(file), many=files(file, test=61)))
    assert problem.path == "task.evaluation.many.test"
    assert problem.message == "61 examples requested, but test has 60"


def test_words_mean_what_they_mean_in_training(write_rows: WriteRows, task_on: TaskOn) -> None:
    main = task_on(write_rows("d.csv", WORDS))
    # Alone, the only word of this set would be class 0.
    task = with_sets(main, positive=files(write_rows("p.csv", [("a", "pos"), ("b", "pos")])))
    assert examples(task, "positive")["label"].to_pylist() == [1, 1]
    (problem,) = problems_of(with_sets(main, x=files(write_rows("x.csv", [("a", "so-so")]))))
    assert problem.path == "task.evaluation.x.label"
    said = "label 'so-so' is not among those of the train split: neg, pos"
    assert problem.message.endswith(said)


def test_no_class_beyond_the_training_data(write_rows: WriteRows, task_on: TaskOn) -> None:
    main = task_on(write_rows("d.csv", ROWS))
    task = with_sets(main, x=files(write_rows("x.jsonl", [("a", 0), ("b", 2)])))
    (problem,) = problems_of(task)
    assert problem.message.endswith("label 2.0 is not among those of the train split: 0, 1")
    with pytest.raises(SpecError, match="not among those of the train split"):
        examples(task, "x")


def test_numbers(write_rows: WriteRows) -> None:
    task = RegressionTask(
        kind="regression",
        data=BuiltinData(),
        evaluation={
            "one": files(write_rows("x.csv", [("a", 0.5)])),
            "same": BuiltinData(),
        },
    )
    assert examples(task, "one")["label"].to_pylist() == [0.5]
    assert len(examples(task, "same")) == 1058  # its test split


def test_columns_of_its_own(tmp_path: Path, write_rows: WriteRows, task_on: TaskOn) -> None:
    (tmp_path / "x.csv").write_text("review,stars\ngood,1\n")
    data = files(tmp_path / "x.csv", text="review", label="stars")
    task = with_sets(task_on(write_rows("d.csv", ROWS)), x=data)
    assert examples(task, "x").to_pylist() == [{"text": "good", "label": 1}]


def test_problems_of_all_sets_show_at_once(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.csv", ROWS)
    task = with_sets(
        task_on(file, label="stars"),  # so that labels of other sets cannot be judged
        gone=files(file.parent / "gone.csv"),
        blank=files(write_rows("b.csv", [("", "any")])),
        split=files(file, train=5, validation=5),
    )
    assert [problem.path for problem in problems_of(task)] == [
        "task.data.label",
        "task.evaluation.gone.path",
        "task.evaluation.blank.text",
        "task.evaluation.split.train",
        "task.evaluation.split.validation",
    ]


def test_the_fingerprint_is_of_all_that_decides_the_examples(
    write_rows: WriteRows, task_on: TaskOn
) -> None:
    file = write_rows("d.csv", ROWS)
    rows = [("a", "pos"), ("b", "pos")]
    set_file, moved = write_rows("x.csv", rows), write_rows("moved/x.csv", rows)

    def of(main: list[Any], **settings: Any) -> str:
        task = task_on(write_rows("main.csv", main))
        data = files(settings.pop("path", set_file), **settings)
        return facts_of(with_sets(task, x=data))["x"].fingerprint

    base = of(WORDS)
    assert of(WORDS, path=moved) == base
    assert of([*WORDS, ("more", "pos")]) == base  # the classes are the same ones
    others = {
        of([*WORDS, ("more", "neutral")]),
        of(WORDS, test=1),
        of(WORDS, test=1, subset_seed=1),
    }
    assert len({base, *others}) == 4
    numbers = {of(ROWS, path=file), of(ROWS, path=file, label="label", text="text")}
    assert len(numbers) == 1


def test_skipped_rows_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(
        '{"instruction": "Do.", "output": ["a", "b"]}\n{"instruction": "", "output": ""}\n'
    )
    task = InstructionTask.model_validate(
        {
            "kind": "instruction",
            "template": "none",
            "evaluation": {
                "x": {"source": "files", "path": str(file)},
                "docs": {"source": "builtin", "test": 5},
            },
        }
    )
    facts = facts_of(task)
    assert (facts["x"].rows, facts["x"].skipped) == (1, 1)
    assert examples(task, "x").to_pylist() == [
        {"prompt": "Do.", "response": "a", "references": ["a", "b"]}
    ]
    assert task.evaluation["docs"] == BuiltinDocstrings(test=5)
    assert len(examples(task, "docs")) == 5


def test_a_task_without_sets() -> None:
    assert facts_of(ClassificationTask()) == {}
