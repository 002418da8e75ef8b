"""Splits in several files: numbered shards, and folders that `save_to_disk` wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flexkd_platform.data import SPLITS, check_data, load_evaluation, load_splits
from flexkd_platform.spec import FilesData, InstructionFiles, InstructionTask, Problem, Task

ROWS = [(f"text {number} — “é”", number % 3) for number in range(60)]

WriteRows = Callable[[str, list[Any]], Path]
TaskOn = Callable[..., Task]
Problems = Callable[..., list[Problem]]


def content(task: Task) -> dict[str, list[tuple[str, int]]]:
    splits = load_splits(task)
    return {
        name: [(row["text"], row["label"]) for row in getattr(splits, name).to_pylist()]
        for name in SPLITS
    }


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def saved(folder: Path, shards: list[list[tuple[str, int]]]) -> Path:
    """Write what `datasets.Dataset.save_to_disk` writes."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05}-of-{len(shards):05}.arrow" for n in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        table = pa.table({"text": [text for text, _ in rows], "label": [y for _, y in rows]})
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def saved_splits(folder: Path, **splits: list[list[tuple[str, int]]]) -> Path:
    for name, shards in splits.items():
        saved(folder / name, shards)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".tsv", ".json"])
def test_shards_are_read_in_order(write_rows: WriteRows, task_on: TaskOn, suffix: str) -> None:
    for number in (2, 0, 1):
        rows = ROWS[20 * number : 20 * number + 20]
        write_rows(f"d/train-{number:05}-of-00003{suffix}", rows)
    write_rows(f"d/validation-00000-of-00001{suffix}", ROWS[:5])
    folder = write_rows(f"d/test{suffix}", ROWS[5:9]).parent
    assert content(task_on(folder)) == {
        "train": ROWS,
        "validation": ROWS[:5],
        "test": ROWS[5:9],
    }


def test_one_shard_is_the_split(write_rows: WriteRows, task_on: TaskOn) -> None:
    one = write_rows("a/train-00000-of-00001-0123456789abcdef.csv", ROWS).parent
    other = write_rows("b/train.csv", ROWS).parent
    facts = [check_data(task_on(folder))[0] for folder in (one, other)]
    assert facts[0] is not None
    assert facts[0] == facts[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train-00000-of-00003.csv", "train-00002-of-00003.csv"],
            "lacks 1 of 3 shards of train: train-00001-of-00003",
        ),
        (
            ["train-00000-of-00001.csv", "train.csv"],
            "holds train-00000-of-00001.csv and train.csv",
        ),
        (
            ["train-00000-of-00002.csv", "train-00001-of-00002.tsv"],
            "holds train-00000-of-00002.csv and train-00001-of-00002.tsv",
        ),
        (
            ["train-00000-of-00002.csv", "train-00001-of-00003.csv"],
            "holds train-00000-of-00002.csv and train-00001-of-00003.csv",
        ),
        (
            ["train-00000-of-00001.csv", "train-00000-of-00001-0123456789abcdef.csv"],
            "holds shard 0 of train 2 times",
        ),
        (["train-00003-of-00002.csv"], "lacks 2 of 2 shards of train"),
    ],
)
def test_shards_that_do_not_fit(
    write_rows: WriteRows, problems: Problems, names: list[str], message: str
) -> None:
    for name in names:
        folder = write_rows(f"d/{name}", ROWS).parent
    problem = only(problems(folder))
    assert problem.path == "task.data.path"
    assert problem.message.startswith(f"{folder} {message}")


def test_a_missing_shard_of_another_split(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train.csv", ROWS)
    folder = write_rows("d/test-00001-of-00002.csv", ROWS).parent
    assert "lacks 1 of 2 shards of test" in only(problems(folder)).message


def test_a_single_shard_is_read_with_a_warning(write_rows: WriteRows, task_on: TaskOn) -> None:
    file = write_rows("d/train-00000-of-00004.csv", ROWS)
    facts, problems = check_data(task_on(file))
    assert problems == []
    assert facts is not None
    (note,) = facts.notes
    assert note.message == f"{file} is one of 4 shards, and the others are not read"


def test_rows_are_counted_in_their_shard(write_rows: WriteRows, problems: Problems) -> None:
    write_rows("d/train-00000-of-00002.csv", ROWS)
    folder = write_rows("d/train-00001-of-00002.csv", [("a", 0), ("", 1)]).parent
    message = only(problems(folder)).message
    assert message == f"row 2 of {folder}/train-00001-of-00002.csv has no text"


def test_shards_whose_labels_differ_in_type(tmp_path: Path, task_on: TaskOn) -> None:
    parts = [(pa.int64(), [0, 1] * 20), (pa.string(), ["0", "1"] * 20)]
    for number, (kind, labels) in enumerate(parts):
        table = {"text": [f"t {number} {n}" for n in range(40)], "label": pa.array(labels, kind)}
        pq.write_table(pa.table(table), tmp_path / f"train-{number:05}-of-00002.parquet")
    splits = content(task_on(tmp_path))
    assert sum(map(len, splits.values())) == 80
    assert {y for rows in splits.values() for _, y in rows} == {0, 1}


def test_shards_whose_texts_differ_in_type(tmp_path: Path, problems: Problems) -> None:
    for number, texts in enumerate([["a"] * 40, [1] * 40]):
        table = pa.table({"text": texts, "label": [0, 1] * 20})
        pq.write_table(table, tmp_path / f"train-{number:05}-of-00002.parquet")
    problem = only(problems(tmp_path))
    assert (problem.path, problem.remedy) == ("task.data.text", "write one type")


def test_an_input_that_one_shard_lacks(tmp_path: Path) -> None:
    for number, more in enumerate([{}, {"input": "x"}]):
        lines = [
            json.dumps({"instruction": f"i {number} {n}", "output": "o", **more}) for n in range(30)
        ]
        (tmp_path / f"train-{number:05}-of-00002.jsonl").write_text("\n".join(lines))
    data = InstructionFiles(source="files", path=str(tmp_path))
    splits = load_splits(InstructionTask(kind="instruction", data=data, template="none"))
    prompts = [row for name in SPLITS for row in getattr(splits, name)["prompt"].to_pylist()]
    assert len(prompts) == 60
    assert sum(prompt.endswith("x") for prompt in prompts) == 30


def test_the_folder_below_is_named(write_rows: WriteRows, problems: Problems) -> None:
    folder = write_rows("d/data/train-00000-of-00001.csv", ROWS).parents[1]
    problem = only(problems(folder))
    assert problem.remedy == f"name the folder {folder}/data"


def test_a_saved_data_set(tmp_path: Path, write_rows: WriteRows, task_on: TaskOn) -> None:
    folder = saved(tmp_path / "saved", [ROWS[:25], ROWS[25:]])
    assert content(task_on(folder)) == content(task_on(write_rows("d.csv", ROWS)))
    one_file = saved(tmp_path / "one", [ROWS]) / "data-00000-of-00001.arrow"
    assert content(task_on(one_file)) == content(task_on(folder))


def test_what_datasets_saves(tmp_path: Path, task_on: TaskOn) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {"text": [text for text, _ in ROWS], "label": [label for _, label in ROWS]}
    whole = datasets.Dataset.from_dict(columns)
    whole.save_to_disk(tmp_path / "one", num_shards=4)
    found = content(task_on(tmp_path / "one"))
    assert sorted(row for rows in found.values() for row in rows) == sorted(ROWS)
    whole.select(range(59, -1, -1)).save_to_disk(tmp_path / "picked")
    picked = content(task_on(tmp_path / "picked"))
    assert {name: rows[::-1] for name, rows in picked.items()} == found
    splits = datasets.DatasetDict({"train": whole, "dev": whole.select(range(9))})
    splits.save_to_disk(tmp_path / "splits")
    both = content(task_on(tmp_path / "splits"))
    assert both["validation"] == ROWS[:9]
    assert len(both["train"]) + len(both["test"]) == 60


def test_saved_splits(tmp_path: Path, task_on: TaskOn) -> None:
    folder = saved_splits(tmp_path / "d", test=[ROWS[:5]], train=[ROWS[:30], ROWS[30:]])
    found = content(task_on(folder))
    assert found["test"] == ROWS[:5]
    assert set(found["train"]) | set(found["validation"]) == set(ROWS)
    task = task_on(folder)
    data = FilesData(source="files", path=str(folder))
    more = task.model_copy(update={"evaluation": {"more": data}})
    assert load_evaluation(more, "more")[0].num_rows == 5


def test_withheld_labels_of_a_saved_split(tmp_path: Path, task_on: TaskOn) -> None:
    withheld = [[(text, -1) for text, _ in ROWS]]
    folder = saved_splits(tmp_path / "d", train=[ROWS], validation=[ROWS[:5]], test=withheld)
    facts, problems = check_data(task_on(folder))
    assert problems == []
    assert facts is not None
    assert facts.sizes["train"] + facts.sizes["test"] == 60
    note = facts.notes[0]
    shard = folder / "test" / "data-00000-of-00001.arrow"
    assert note.message == f"the labels of {shard} are withheld: all of them are -1"


def test_saved_folders_that_are_not_whole(tmp_path: Path, problems: Problems) -> None:
    folder = saved(tmp_path / "a", [ROWS[:25], ROWS[25:]])
    (folder / "data-00001-of-00002.arrow").unlink()
    message = f"{folder} lacks data-00001-of-00002.arrow, named in its state.json"
    assert only(problems(folder)).message == message
    (folder / "data-00001-of-00002.arrow").write_bytes(b"\xff" * 30)
    assert "is not a readable Arrow file: " in only(problems(folder)).message
    (folder / "state.json").write_text("{")
    assert "state.json of" in only(problems(folder)).message
    folder = saved_splits(tmp_path / "b", train=[ROWS], test=[ROWS[:5]])
    (folder / "test" / "state.json").unlink()
    assert only(problems(folder)).message == f"{folder}/test has no state.json"
    folder = saved_splits(tmp_path / "c", test=[ROWS])
    assert only(problems(folder)).message == f"{folder} contains no train split, but test"
    folder = saved_splits(tmp_path / "e", other=[ROWS])
    message = f"{folder} has no split train, validation or test, but other"
    assert only(problems(folder)).message == message


def test_an_index_of_rows_is_refused(tmp_path: Path, problems: Problems) -> None:
    folder = saved(tmp_path / "a", [ROWS])
    state = json.loads((folder / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (folder / "state.json").write_text(json.dumps(state))
    assert "with an index of its rows" in only(problems(folder)).message
