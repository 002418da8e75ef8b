"""What is a label and what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import (
    SPLITS,
    check_data,
    class_lines,
    load_evaluation,
    load_splits,
    untaught_classes,
)
from flexkd_platform.data.prepare import prepare
from flexkd_platform.spec import ClassificationTask, FilesData, Problem, Task

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]

PATH = "task.data.label"


def rows(labels: list[Any]) -> list[Any]:
    """The labels after 40 rows of 0 and 1, so that all splits can be drawn."""
    return [(f"text {n}", label) for n, label in enumerate([0, 1] * 20 + labels)]


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    assert problems[0].path == PATH
    return problems[0]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize(
    ("label", "said"),
    [
        (1.5, "is not a whole number"),
        (-1, "is negative"),
        ("good", "is not a number"),
        (7, "is outside the head of 3 classes"),
    ],
)
def test_no_class(
    write_rows: WriteRows, problems: Problems, suffix: str, label: object, said: str
) -> None:
    file = write_rows(f"d{suffix}", rows([label, 0, label]))
    problem = only(problems(file, classes=3))
    assert problem.message.startswith(f"row 41 of {file} (and 1 more): label ")
    assert problem.message.endswith(said)
    assert str(label) in problem.message


def test_a_label_beyond_all_classes(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.jsonl", rows([1e300]))
    assert only(problems(file)).message.endswith("label 1e+300 is too large for a class")


def test_the_head_can_be_raised(write_rows: WriteRows, problems: Problems) -> None:
    problem = only(problems(write_rows("d.csv", rows([7])), classes=3))
    assert problem.remedy == "labels go from 0 to 2; correct them, or raise task.classes"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_no_label(write_rows: WriteRows, problems: Problems, suffix: str) -> None:
    missing = None if suffix in {".jsonl", ".parquet"} else ""
    file = write_rows(f"d{suffix}", rows([missing]))
    assert only(problems(file)).message == f"row 41 of {file} has no label"


def test_not_a_number_and_infinity(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.parquet", rows([float("nan"), 1.0]))
    assert only(problems(file, "regression")).message.endswith("label nan is not finite")
    file = write_rows("d.jsonl", rows([float("inf")]))
    assert only(problems(file)).message.endswith("label inf is not finite")
    file = write_rows("d.csv", rows(["nan"]))
    assert only(problems(file, "regression")).message.endswith("label 'nan' is not a number")


def test_numbers(write_rows: WriteRows, task_on: TaskOn) -> None:
    labels = ["+1.5", "-2e-1", ".5", " 3 ", "4."]
    splits = load_splits(task_on(write_rows("d.csv", rows(labels)), "regression"))
    found = {r["text"]: r["label"] for s in SPLITS for r in getattr(splits, s).to_pylist()}
    assert [found[f"text {n}"] for n in range(40, 45)] == [1.5, -0.2, 0.5, 3.0, 4.0]


def test_words_are_no_regression(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.jsonl", [(f"text {n}", ["pos", "neg"][n % 2]) for n in range(40)])
    problem = only(problems(file, "regression"))
    assert problem.message == f"row 1 of {file} (and 39 more): label 'pos' is not a number"


def test_true_is_no_regression(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.jsonl", [(f"text {n}", n % 2 == 0) for n in range(40)])
    assert only(problems(file, "regression")).remedy.endswith("use kind: classification")


def test_an_unseen_word(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", [(f"text {n}", ["pos", "neg"][n % 2]) for n in range(40)])
    file = write_rows("d/test.jsonl", [("a", "pos"), ("b", "neutral")])
    problem = only(problems(file.parent))
    said = f"row 2 of {file}: label 'neutral' is not among those of the train split: neg, pos"
    assert problem.message == said


def test_more_words_than_classes(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.csv", [(f"text {n}", "abc"[n % 3]) for n in range(40)])
    problem = only(problems(file, classes=2))
    assert problem.message == f"{file} has 3 classes (a, b, c), outside the head of 2"
    assert problem.remedy == "correct the labels, or task.classes: 3"


def test_a_head_wider_than_the_labels_is_fine(write_rows: WriteRows, task_on: TaskOn) -> None:
    facts, problems = check_data(task_on(write_rows("d.csv", rows([])), classes=5))
    assert problems == []
    assert facts is not None
    assert facts.classes == 5


@pytest.mark.parametrize("labels", [(0, 1, 2), ("neg", "pos", "neutral"), (1, 2, 3)])
def test_a_class_of_another_split_alone_needs_a_number_of_classes(
    write_rows: WriteRows, problems: Problems, task_on: TaskOn, labels: tuple[Any, ...]
) -> None:
    """One rule for numbers and words."""
    write_rows("d/train.csv", [(f"text {n}", labels[n % 2]) for n in range(40)])
    file = write_rows("d/test.csv", [("a", labels[0]), ("b", labels[1]), ("c", labels[2])])
    problem = only(problems(file.parent))
    shown = f"{labels[0]}, {labels[1]}"
    assert problem.message.startswith(f"row 3 of {file}: label ")
    assert problem.message.endswith(f"is not among those of the train split: {shown}")
    assert "set task.classes" in problem.remedy
    facts, found = check_data(task_on(file.parent, classes=3))
    assert found == []
    assert facts is not None
    assert (facts.classes, facts.counts["test"]) == (3, (1, 1, 1))
    assert list(untaught_classes(facts)) == [str(labels[2])]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1], ()),
        (["0", "1"], ()),
        ([False, True], ()),
        ([1, 2], ("1", "2")),
        ([1.0, 2.0], ("1", "2")),
        (["1", "2"], ("1", "2")),
        ([1, 2, 3, 4, 5], ("1", "2", "3", "4", "5")),
        ([0, 2], ("0", "2")),
        ([10, 5, 7], ("5", "7", "10")),
        (["pos", "neg"], ("neg", "pos")),
    ],
)
def test_classes_are_the_labels_in_order(
    write_rows: WriteRows, task_on: TaskOn, labels: list[Any], names: tuple[str, ...]
) -> None:
    """Renumbering changes nothing else: the class is the place of the label in sorted order."""
    task = task_on(write_rows("d.jsonl", [(f"t {n}", labels[n % len(labels)]) for n in range(60)]))
    facts, problems = check_data(task)
    assert problems == []
    assert facts is not None
    assert (facts.classes, facts.names) == (len(labels), names)
    order = sorted(labels)
    splits = load_splits(task)
    for split in SPLITS:
        for row in getattr(splits, split).to_pylist():
            given = labels[int(row["text"].removeprefix("t ")) % len(labels)]
            assert order[row["label"]] == given
        counts = [getattr(splits, split)["label"].to_pylist().count(at) for at in range(len(order))]
        assert facts.counts[split] == tuple(counts)


def test_renumbered_labels_are_other_data(write_rows: WriteRows, task_on: TaskOn) -> None:
    """And labels from 0 are the same data as before they could be renumbered."""
    counted, one_based = (
        check_data(task_on(write_rows(f"{low}.csv", [(f"t {n}", low + n % 2) for n in range(40)])))
        for low in (0, 1)
    )
    facts = counted[0]
    assert facts is not None
    assert one_based[0] is not None
    assert facts.fingerprint != one_based[0].fingerprint
    _, made, _ = prepare(task_on(write_rows("0.csv", rows([]))), "task.data")
    assert "numbers" not in made.rules


def test_labels_from_one_in_a_head_of_their_number(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d.csv", [(f"text {n}", 1 + n % 3) for n in range(60)])
    facts, problems = check_data(task_on(file, classes=3))
    assert problems == []
    assert facts is not None
    assert facts.names == ("1", "2", "3")


def test_an_evaluation_set_has_the_same_numbers(write_rows: WriteRows) -> None:
    data, more = (
        FilesData(source="files", path=str(write_rows(name, found)))
        for name, found in (
            ("d.csv", [(f"text {n}", 1 + n % 2) for n in range(40)]),
            ("more.csv", [("a", 2), ("b", 1), ("c", 2)]),
        )
    )
    task = ClassificationTask(data=data, evaluation={"more": more})
    assert check_data(task)[1] == []
    assert load_evaluation(task, "more")[0]["label"].to_pylist() == [1, 0, 1]


def named(write_rows: WriteRows, labels: list[Any], **names: str) -> Task:
    file = write_rows("d.csv", [(f"text {n}", labels[n % 2]) for n in range(40)])
    data = FilesData(source="files", path=str(file))
    return ClassificationTask(data=data, label_names=names)


def test_classes_have_the_names_of_the_task(write_rows: WriteRows) -> None:
    facts, _ = check_data(named(write_rows, [0, 1], **{"0": "negative", "1": "positive"}))
    assert facts is not None
    assert facts.names == ("negative", "positive")
    facts, _ = check_data(named(write_rows, [1, 2], **{"2": "good"}))
    assert facts is not None
    assert facts.names == ("1", "good")
    assert class_lines(facts)[0] == "labels as classes: 1 → 0, good → 1"


def test_names_of_no_label_and_names_of_two_are_refused(write_rows: WriteRows) -> None:
    _, (problem,) = check_data(named(write_rows, ["a", "b"], c="good"))
    assert problem.path == "task.label_names"
    assert problem.message.startswith("'c' is no label of ")
    assert problem.message.endswith(": a, b")
    _, (problem,) = check_data(named(write_rows, ["a", "b"], a="b"))
    assert problem.message == "two classes have the name 'b'"


def test_one_class_is_shown_by_its_label(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.csv", [(f"text {n}", "good") for n in range(40)])
    assert only(problems(file)).message.endswith("training examples have the label good")


@pytest.mark.parametrize("label", ["text", "id"])
def test_a_column_that_is_no_label(tmp_path: Path, problems: Problems, label: str) -> None:
    file = tmp_path / "d.parquet"
    texts = [f"text {n}" for n in range(100)]
    pq.write_table(pa.table({"review": texts, "text": texts, "id": range(100)}), file)
    problem = only(problems(file, text="review", label=label))
    assert problem.message == f"{file} has 100 examples of 100 classes"
    assert problem.remedy == "name the column that holds the label, or set task.classes: 100"


def test_one_class_only(write_rows: WriteRows, problems: Problems) -> None:
    file = write_rows("d.csv", [(f"text {n}", 1) for n in range(40)])
    problem = only(problems(file))
    assert problem.message.endswith("training examples have the label 1")
    assert problem.remedy == "training needs examples of two labels at least"


def test_one_class_in_the_subset(write_rows: WriteRows, problems: Problems) -> None:
    found = problems(write_rows("d.csv", rows([])), train=1)
    assert [problem.path for problem in found] == ["task.data.train"]
    assert "all 1 training examples have the label" in found[0].message


def test_columns_of_other_types(tmp_path: Path, problems: Problems) -> None:
    file = tmp_path / "d.parquet"
    pq.write_table(pa.table({"text": [1, 2], "label": [[0], [1]]}), file)
    text, label = problems(file)
    assert (text.path, label.path) == ("task.data.text", PATH)
    assert text.message == f"the texts of {file} are of type int64"
    assert label.message == f"the labels of {file} are of type list<element: int64>"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".csv"])
@pytest.mark.parametrize("text", ["", "  "])
def test_no_text(write_rows: WriteRows, problems: Problems, suffix: str, text: str) -> None:
    file = write_rows(f"d{suffix}", [*rows([]), (text, 1)])
    (problem,) = problems(file)
    assert (problem.path, problem.message) == ("task.data.text", f"row 41 of {file} has no text")
