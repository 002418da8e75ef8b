"""Several data sets as one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.data import SPLITS, check_data, load_splits
from flexkd_platform.plan import DatasetConfig
from flexkd_platform.spec import (
    ClassificationTask,
    InstructionTask,
    Problem,
    RegressionTask,
    Task,
    TextTask,
)

WriteRows = Callable[[str, list[Any]], Path]

A = [(f"a {n}", n % 2) for n in range(100)]
B = [(f"b {n}", n % 3) for n in range(400)]


def mixed(
    parts: dict[str, Any], kind: type[TextTask] = ClassificationTask, **settings: Any
) -> Task:
    files = {
        name: {"source": "files", **({"path": str(part)} if isinstance(part, Path) else part)}
        for name, part in parts.items()
    }
    data = {"source": "mixture", "parts": files, **settings}
    name = "regression" if kind is RegressionTask else "classification"
    return kind.model_validate({"kind": name, "data": data})


def facts(task: Task) -> Any:
    found, problems = check_data(task)
    assert problems == [], [str(problem) for problem in problems]
    return found


def only(task: Task) -> Problem:
    found, problems = check_data(task)
    assert found is None
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def origins(task: Task) -> dict[str, Counter[str]]:
    splits = load_splits(task)
    return {name: Counter(getattr(splits, name)["origin"].to_pylist()) for name in SPLITS}


def test_all_examples_of_all_parts(write_rows: WriteRows) -> None:
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b.jsonl", B)}
    splits = load_splits(mixed(parts))
    rows = [row for name in SPLITS for row in getattr(splits, name).to_pylist()]
    assert sorted((row["text"], row["label"]) for row in rows) == sorted([*A, *B])
    assert all(row["text"].startswith(row["origin"]) for row in rows)
    assert splits.train.column_names == ["text", "label", "origin"]
    assert facts(mixed(parts)).classes == 3


def test_each_part_has_the_splits_that_it_has_alone(write_rows: WriteRows) -> None:
    write_rows("b/train.csv", B)
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b/test.csv", A[:7]).parent}
    both = load_splits(mixed(parts))
    for name, part in parts.items():
        data = {"source": "files", "path": str(part)}
        alone = load_splits(ClassificationTask.model_validate({"data": data}))
        for split in SPLITS:
            table = getattr(both, split).to_pylist()
            found = [(row["text"], row["label"]) for row in table if row["origin"] == name]
            rows = getattr(alone, split).to_pylist()
            assert found == [(row["text"], row["label"]) for row in rows]


def test_weights_are_shares_of_train(write_rows: WriteRows) -> None:
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b.csv", B)}
    whole = origins(mixed(parts))
    found = origins(mixed(parts, weights={"a": 3, "b": 1}))
    assert found["train"]["a"] == whole["train"]["a"]
    assert abs(found["train"]["b"] - whole["train"]["a"] / 3) <= 1
    assert (found["validation"], found["test"]) == (whole["validation"], whole["test"])
    exact = origins(mixed(parts, weights={"a": 0.25, "b": 0.75}, train=80, test=20))
    assert exact["train"] == {"a": 20, "b": 60}
    assert exact["test"].total() == 20


def test_a_larger_mixture_holds_a_smaller_one(write_rows: WriteRows) -> None:
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b.csv", B)}
    texts = [
        set(load_splits(mixed(parts, weights={"a": 1, "b": 1}, train=n)).train["text"].to_pylist())
        for n in (20, 60)
    ]
    assert texts[0] < texts[1]
    seeded = mixed(parts, weights={"a": 1, "b": 1}, train=20, subset_seed=1)
    assert set(load_splits(seeded).train["text"].to_pylist()) != texts[0]


def test_words_mean_the_same_in_all_parts(write_rows: WriteRows) -> None:
    a = write_rows("a.csv", [(text, ["x", "y"][y]) for text, y in A])
    b = write_rows("b.csv", [(text, ["w", "x", "z"][y]) for text, y in B])
    found = {
        row["text"]: row["label"]
        for name in SPLITS
        for row in getattr(load_splits(mixed({"a": a, "b": b})), name).to_pylist()
    }
    assert (found["a 0"], found["a 1"]) == (1, 2)
    assert (found["b 0"], found["b 1"], found["b 2"]) == (0, 1, 3)
    assert facts(mixed({"a": a, "b": b})).classes == 4


def test_words_and_numbers_do_not_mix(write_rows: WriteRows) -> None:
    a = write_rows("a.csv", [(text, ["x", "y"][y]) for text, y in A])
    _, problems = check_data(mixed({"a": a, "b": write_rows("b.csv", B)}))
    assert problems
    assert {problem.path.split(".label")[0] for problem in problems} <= {
        "task.data.parts",
        "task.data.parts.a",
        "task.data.parts.b",
    }


def test_columns_and_rows_without_labels_of_each_part(
    tmp_path: Path, write_rows: WriteRows
) -> None:
    lines = "".join(f"{n % 2};s {n}\n" for n in range(100))
    (tmp_path / "b.csv").write_text("y;sentence\n-1;none\n" + lines)
    b = {"path": str(tmp_path / "b.csv"), "text": "sentence", "label": "y", "missing": "skip"}
    task = mixed({"a": write_rows("a.csv", A), "b": b})
    assert facts(task).skipped == {"train": 1, "validation": 0, "test": 0}
    assert sum(facts(task).sizes.values()) == 200
    assert facts(task).notes[0].path == "task.data.parts.b.delimiter"


def test_leakage_between_parts(write_rows: WriteRows) -> None:
    write_rows("a/train.csv", A)
    a = write_rows("a/test.csv", B[:30]).parent
    parts = {"a": a, "b": write_rows("b.csv", B)}
    assert any("are also in train" in note.message for note in facts(mixed(parts)).notes)
    found = load_splits(mixed(parts, drop_leaked=True))
    assert not set(found.test["text"].to_pylist()) & set(found.train["text"].to_pylist())
    assert (
        sum(found.dropped.values())
        == sum(found.skipped.values()) + found.dropped["train"] + (found.dropped["validation"])
    )
    assert found.dropped["train"] > 10


def test_the_fingerprint_is_of_the_contents(write_rows: WriteRows) -> None:
    a, b = write_rows("a.csv", A), write_rows("b.csv", B)
    moved = write_rows("elsewhere/c.csv", B)
    tasks = [mixed({"a": a, "b": b}), mixed({"a": a, "b": moved})]
    assert facts(tasks[0]).fingerprint == facts(tasks[1]).fingerprint
    write_rows("elsewhere/c.csv", B[1:])
    assert facts(tasks[0]).fingerprint != facts(tasks[1]).fingerprint


def test_instructions(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [json.dumps({"instruction": f"{name} {n}", "output": "o"}) for n in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    parts = {n: {"source": "files", "path": str(tmp_path / f"{n}.jsonl")} for n in ("a", "b")}
    data = {"source": "mixture", "parts": parts, "weights": {"a": 1, "b": 2}, "train": 30}
    task = InstructionTask.model_validate({"kind": "instruction", "data": data})
    assert origins(task)["train"] == {"a": 10, "b": 20}


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"weights": {"a": 1}}, "task.data.weights", "b has no weight"),
        ({"weights": {"a": 1, "b": 1, "c": 1}}, "task.data.weights.c", "is no part"),
        (
            {"weights": {"a": 1, "b": 1}, "train": 300},
            "task.data.train",
            "300 examples requested, but these weights allow ",
        ),
        (
            {"weights": {"a": 1000, "b": 1}, "train": 50},
            "task.data.weights",
            "b has no example among the 50 of train",
        ),
        ({"train": 5000}, "task.data.train", "5,000 examples requested, but train has "),
    ],
)
def test_weights_that_do_not_fit(
    write_rows: WriteRows, settings: dict[str, Any], path: str, message: str
) -> None:
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b.csv", B)}
    problem = only(mixed(parts, **settings))
    assert problem.path == path
    assert problem.message.startswith(message)


def test_problems_of_all_parts(write_rows: WriteRows) -> None:
    parts = {
        "a": write_rows("a.csv", [*A, ("", 1)]),
        "b": write_rows("b.csv", [*B, ("bad", 0.5)]),
        "c": Path("nowhere.csv"),
    }
    _, problems = check_data(mixed(parts))
    assert [problem.path for problem in problems] == [
        "task.data.parts.a.text",
        "task.data.parts.b.label",
        "task.data.parts.c.path",
    ]


def test_one_part_is_no_mixture(write_rows: WriteRows) -> None:
    assert only(mixed({"a": write_rows("a.csv", A)})).path == "task.data.parts"


def test_pairs_and_single_texts(tmp_path: Path, write_rows: WriteRows) -> None:
    rows = "".join(f"p {n},q {n},{n % 2}\n" for n in range(40))
    (tmp_path / "b.csv").write_text("text,more,label\n" + rows)
    b = {"path": str(tmp_path / "b.csv"), "text_pair": "more"}
    problem = only(mixed({"a": write_rows("a.csv", A), "b": b}))
    assert (problem.path, problem.message) == (
        "task.data.parts.a",
        "a has single texts, b has pairs",
    )


def test_numbers(write_rows: WriteRows) -> None:
    rows = [(text, y + 0.5) for text, y in B]
    parts = {"a": write_rows("a.csv", A), "b": write_rows("b.csv", rows)}
    assert sum(facts(mixed(parts, RegressionTask)).sizes.values()) == 500


def test_a_step_does_not_depend_on_paths() -> None:
    parts = {"a": Path("here/a.csv"), "b": {"path": "here/b.csv", "delimiter": ";"}}
    moved = {"a": Path("there/a.csv"), "b": {"path": "there/b.csv"}}
    configs = [DatasetConfig(mixed(part), None, "0" * 64) for part in (parts, moved)]
    assert configs[0].to_identity() == configs[1].to_identity()
    assert configs[0].name == "mixture"
    weighted = DatasetConfig(mixed(parts, weights={"a": 1, "b": 2}), None, "0" * 64)
    assert weighted.to_identity() != configs[0].to_identity()
