"""Any number of classes per row: every way to write them, what is refused, and where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.artifacts import multi_hot
from flexkd_platform.data import check_data, load_evaluation, load_splits
from flexkd_platform.data.found_lists import with_label_lists
from flexkd_platform.spec import JobSpec, MultilabelTask, Problem

WORDS = ("fun", "long", "sad")
SETS: list[list[str]] = [
    [word for place, word in enumerate(WORDS) if row >> place & 1] for row in range(24)
]
TEXTS = [f"film {row}" for row in range(len(SETS))]
PLACES = [[WORDS.index(word) for word in row] for row in SETS]


def write(file: Path, labels: Sequence[Any], name: str = "labels") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"text": text, name: label} for text, label in zip(TEXTS, labels, strict=False)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def task_on(path: Path, task: dict[str, Any] | None = None, **data: Any) -> MultilabelTask:
    source = {"source": "files", "path": str(path), **data}
    values = {"kind": "multilabel", "data": source, **(task or {})}
    return MultilabelTask.model_validate_json(json.dumps(values))


def problems(path: Path, task: dict[str, Any] | None = None, **data: Any) -> list[Problem]:
    facts, found = check_data(task_on(path, task, **data))
    assert (facts is None) == bool(found)
    return found


def classes(task: MultilabelTask) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The names of the classes, and the indices of every text's."""
    facts, found = check_data(task)
    assert facts is not None, found
    splits = load_splits(task, facts.fingerprint)
    tables = [getattr(splits, split) for split in ("train", "validation", "test")]
    rows = {text: label for t in tables for text, label in zip(*t.to_pydict().values())}  # noqa: B905
    return facts.names, rows


def expected(order: Sequence[int] = (0, 1, 2)) -> dict[str, list[int]]:
    return {
        text: sorted(order[place] for place in places)
        for text, places in zip(TEXTS, PLACES, strict=True)
    }


class TestForms:
    def test_lists_of_names(self, tmp_path: Path) -> None:
        names, found = classes(task_on(write(tmp_path / "a.jsonl", SETS)))
        assert (names, found) == (WORDS, expected())

    def test_lists_of_numbers(self, tmp_path: Path) -> None:
        names, found = classes(task_on(write(tmp_path / "a.jsonl", PLACES)))
        assert (names, found) == ((), expected())

    def test_one_0_or_1_per_class(self, tmp_path: Path) -> None:
        hot = [[int(word in row) for word in WORDS] for row in SETS]
        for rows in (hot, [[bool(x) for x in row] for row in hot]):
            names, found = classes(task_on(write(tmp_path / "a.jsonl", rows)))
            assert (names, found) == ((), expected())

    def test_a_separator(self, tmp_path: Path) -> None:
        lines = [f"{t},{' | '.join(row)}\n" for t, row in zip(TEXTS, SETS, strict=True)]
        (tmp_path / "a.csv").write_text("text,labels\n" + "".join(lines))
        names, found = classes(task_on(tmp_path / "a.csv", separator="|"))
        assert (names, found) == (WORDS, expected())

    def test_numbers_with_a_separator_are_in_their_order(self, tmp_path: Path) -> None:
        numbers = ["|".join(str(8 + place) for place in row) for row in PLACES]
        names, found = classes(task_on(write(tmp_path / "a.jsonl", numbers), separator="|"))
        assert (names, found) == (("8", "9", "10"), expected())

    @pytest.mark.parametrize("values", [("0", "1"), ("false", "True"), ("0.0", "1.0")])
    def test_a_column_per_class_in_the_order_of_the_spec(
        self, tmp_path: Path, values: tuple[str, str]
    ) -> None:
        order = ("sad", "fun", "long")
        lines = [
            ",".join([text, *(values[word in row] for word in WORDS)]) + "\n"
            for text, row in zip(TEXTS, SETS, strict=True)
        ]
        (tmp_path / "a.csv").write_text(f"text,{','.join(WORDS)}\n" + "".join(lines))
        names, found = classes(task_on(tmp_path / "a.csv", labels=order))
        assert (names, found) == (order, expected((1, 2, 0)))

    def test_lists_of_parquet(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"text": TEXTS, "labels": SETS}), tmp_path / "a.parquet")
        assert classes(task_on(tmp_path / "a.parquet")) == (WORDS, expected())

    def test_numbers_that_the_source_names(self, tmp_path: Path) -> None:
        """As `datasets` stores a list of `ClassLabel`."""
        label = {"feature": {"names": list(WORDS), "_type": "ClassLabel"}, "_type": "List"}
        info = json.dumps({"info": {"features": {"labels": label}}})
        table = pa.table({"text": TEXTS, "labels": PLACES})
        pq.write_table(table.replace_schema_metadata({"huggingface": info}), tmp_path / "a.parquet")
        assert classes(task_on(tmp_path / "a.parquet")) == (WORDS, expected())

    def test_rows_without_a_class_stay_and_a_repeated_class_counts_once(
        self, tmp_path: Path
    ) -> None:
        rows = [["fun", "fun"], *SETS[1:]]
        _, found = classes(task_on(write(tmp_path / "a.jsonl", rows)))
        assert found[TEXTS[0]] == [0]
        assert found[TEXTS[8]] == []

    def test_label_names_are_shown(self, tmp_path: Path) -> None:
        task = task_on(write(tmp_path / "a.jsonl", PLACES), {"label_names": {"1": "long"}})
        assert classes(task)[0] == ("0", "long", "2")


class TestProblems:
    @pytest.mark.parametrize(
        ("label", "message"),
        [
            ("fun|sad", "row 3 of .*: 'fun|sad' is text, not a list"),
            (1, "row 3 of .*: 1 is no list"),
            ({"fun": 1}, r'row 3 of .*: {"fun": 1} is no list'),
            ([1.5], r"row 3 of .*: \[1.5\] has an entry that is no class"),
            ([-1], r"row 3 of .*: \[-1\] has an entry that is no class"),
            ([["fun"]], r"row 3 of .*: \[\[\"fun\"\]\] has an entry that is no class"),
            ([float("nan")], r"row 3 of .*: \[NaN\] has an entry that is no class"),
            (["fun", 1], "row 3 of .* has words and numbers in one list"),
            (None, "row 3 of .* has no list of classes"),
            (float("nan"), "row 3 of .* has no list of classes"),
        ],
    )
    def test_of_a_row(self, tmp_path: Path, label: Any, message: str) -> None:
        rows = [*SETS[:2], label, *SETS[3:]]
        (problem,) = problems(write(tmp_path / "a.jsonl", rows))
        assert problem.path == "task.data.labels"
        assert problem.remedy
        with pytest.raises(ValueError, match=message):
            raise ValueError(problem.message)

    def test_all_at_once(self, tmp_path: Path) -> None:
        rows = ["fun|sad", 1, None, [1.5], 2, *SETS[5:]]
        found = [problem.message for problem in problems(write(tmp_path / "a.jsonl", rows))]
        assert len(found) == 4
        assert found[1].endswith("a.jsonl (and 1 more): 1 is no list")

    def test_missing_rows_are_skipped_on_request(self, tmp_path: Path) -> None:
        facts, _ = check_data(
            task_on(write(tmp_path / "a.jsonl", [None, *SETS[1:]]), missing="skip")
        )
        assert facts is not None
        assert sum(facts.skipped.values()) == 1
        assert sum(facts.sizes.values()) == 23

    def test_class_in_test_alone(self, tmp_path: Path) -> None:
        write(tmp_path / "train.jsonl", SETS)
        write(tmp_path / "validation.jsonl", SETS[:3])
        write(tmp_path / "test.jsonl", [["fun"], ["new"], ["newer"]])
        (problem,) = problems(tmp_path)
        assert "row 2 of" in problem.message
        assert "(and 1 more): 'new' is not among the classes of the train" in problem.message
        assert problems(tmp_path, {"classes": 5}) == []

    def test_vectors_of_another_length(self, tmp_path: Path) -> None:
        write(tmp_path / "train.jsonl", [[int(w in row) for w in WORDS] for row in SETS])
        write(tmp_path / "test.jsonl", [[0, 1], [1, 1, 1]])
        (problem,) = problems(tmp_path)
        assert "row 1 of" in problem.message
        assert "[0, 1] is not one 0 or 1 for each class" in problem.message

    def test_vectors_of_more_classes_than_the_head(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.jsonl", [[int(w in row) for w in WORDS] for row in SETS])
        (problem,) = problems(file, {"classes": 2})
        assert "has 3 classes (0, 1, 2), outside the head of 2" in problem.message
        assert problems(file, {"classes": 4}) == []

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([["fun", "sad"]] * 24, "examples have the same classes: fun, sad"),
            ([["fun"], []] * 12, "has one class: fun"),
            ([[]] * 24, "has no class"),
            ([[f"c{row}"] for row in range(24)], "24 examples of 24 classes"),
        ],
    )
    def test_of_the_classes(self, tmp_path: Path, rows: list[Any], message: str) -> None:
        (tmp_path / "validation.jsonl").write_text('{"text": "a", "labels": []}\n')
        (tmp_path / "test.jsonl").write_text('{"text": "a", "labels": []}\n')
        write(tmp_path / "train.jsonl", rows)
        (problem,) = problems(tmp_path)
        assert message in problem.message

    def test_of_0_1_columns(self, tmp_path: Path) -> None:
        lines = [f"{text},1,{'x' if text == 'film 3' else 0}\n" for text in TEXTS]
        (tmp_path / "a.csv").write_text("text,fun,sad\n" + "".join(lines))
        (problem,) = problems(tmp_path / "a.csv", labels=["fun", "sad"])
        assert problem.path == "task.data.labels[1]"
        assert "row 4 of" in problem.message
        (problem,) = problems(tmp_path / "a.csv", labels=["fun", "long"])
        assert "no column 'long'" in problem.message

    def test_settings_without_effect(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.jsonl", SETS)
        (problem,) = problems(file, separator="|")
        assert problem.path == "task.data.separator"
        (problem,) = problems(file, stratified=True)
        assert problem.message == "a multilabel task has no single class per row"


class TestOtherData:
    def test_an_evaluation_set_has_the_classes_of_the_training_data(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", SETS)
        write(tmp_path / "other.jsonl", [["sad"], []])
        source = {"source": "files", "path": str(tmp_path / "other.jsonl")}
        task = task_on(tmp_path / "a.jsonl", {"evaluation": {"other": source}})
        table, _ = load_evaluation(task, "other")
        assert table["label"].to_pylist() == [[2], []]
        write(tmp_path / "other.jsonl", [["sad"], ["happy"]])
        (problem,) = check_data(task)[1]
        assert problem.path == "task.evaluation.other.labels"
        assert "'happy'" in problem.message

    def test_parts_of_a_mixture_may_write_them_differently(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jsonl", SETS)
        write(tmp_path / "b.jsonl", ["sad+fun", "fun", "long", ""] * 6, "tags")
        parts = {
            "a": {"source": "files", "path": str(tmp_path / "a.jsonl")},
            "b": {
                "source": "files",
                "path": str(tmp_path / "b.jsonl"),
                "labels": "tags",
                "separator": "+",
            },
        }
        data = {"source": "mixture", "parts": parts}
        values = json.dumps({"kind": "multilabel", "data": data})
        facts, found = check_data(MultilabelTask.model_validate_json(values))
        assert facts is not None, found
        assert facts.names == WORDS
        assert sum(facts.sizes.values()) == 48


def test_multi_hot_marks_rows_without_a_list() -> None:
    column = pa.chunked_array([pa.array([[0, 2], [], None], pa.list_(pa.int64()))])
    expected_NC = np.array([[1, 0, 1], [0, 0, 0], [np.nan] * 3])
    np.testing.assert_array_equal(multi_hot(column, 3), expected_NC)


class TestFoundLists:
    def spec(self, path: Path, **sections: Any) -> JobSpec:
        task = {"kind": "classification", "data": {"source": "files", "path": str(path)}}
        values = {"name": "x", "task": task, "sweep": {"methods": [{"kind": "ft"}]}, **sections}
        return JobSpec.model_validate_json(json.dumps(values))

    @pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
    def test_lists_make_a_classification_task_multi_label(
        self, tmp_path: Path, suffix: str
    ) -> None:
        file = tmp_path / f"a{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.table({"text": TEXTS, "label": SETS}), file)
        else:
            write(file, SETS, "label")
        if suffix == ".json":
            file.write_text(json.dumps([json.loads(x) for x in file.read_text().splitlines()]))
        spec, (note,) = with_label_lists(self.spec(file))
        assert note.remedy == "state it, as kind: multilabel with data.labels: label"
        assert isinstance(spec.task, MultilabelTask)
        assert classes(spec.task) == (WORDS, expected())

    def test_other_specs_stay_as_they_are(self, tmp_path: Path) -> None:
        plain = self.spec(write(tmp_path / "a.jsonl", [0, 1] * 12, "label"))
        lists = write(tmp_path / "b.jsonl", SETS, "label")
        accuracy = self.spec(lists, evaluate={"metrics": ["accuracy"]})
        absent = self.spec(tmp_path / "c.jsonl")
        for spec in (plain, accuracy, absent):
            assert with_label_lists(spec) == (spec, [])
        assert accuracy.task.kind == "classification"
        (problem,) = check_data(accuracy.task)[1]
        assert "kind: multilabel reads lists" in problem.remedy
