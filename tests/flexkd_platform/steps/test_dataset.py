"""The data set step: what was read is what comes back, in any slices."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.artifacts import read_rows, split_rows
from flexkd_platform.models import load_tokenizer
from flexkd_platform.plan import LabelReading
from flexkd_platform.spec import SpecError
from flexkd_platform.steps import dataset, run_step
from flexkd_platform.training.encoding import encode


def test_a_source_that_changed_since_it_was_planned_is_refused(
    fresh: Callable[[], Any], tmp_path: Path
) -> None:
    """Stored all the same, other examples would be there for good under the planned identity."""
    lab = fresh()
    folder = shutil.copytree(lab.folder / "reviews", tmp_path / "reviews")
    step = lab.step(lab.plan(f"task.data.path={folder}"), "dataset")
    train = folder / "train.jsonl"
    before = train.read_text(encoding="utf-8")
    train.write_text(before + json.dumps({"text": "good", "label": 1}) + "\n", encoding="utf-8")
    with pytest.raises(SpecError, match="not those that this job was planned with") as caught:
        list(run_step(step, lab.store, 1))
    assert [problem.path for problem in caught.value.problems] == ["task.data"]
    assert not lab.store.has(step)
    train.write_text(before, encoding="utf-8")
    list(run_step(step, lab.store, 1))
    assert lab.store.has(step)


def test_an_evaluation_set_that_changed_is_refused(
    fresh: Callable[[], Any], tmp_path: Path
) -> None:
    lab = fresh()
    folder = shutil.copytree(lab.folder / "reviews", tmp_path / "reviews")
    more = f"task.evaluation={{more: {{source: files, path: {folder}/test.jsonl}}}}"
    steps = [s for s in lab.plan(more).steps() if s.kind == "dataset" and s.config.evaluation_set]
    steps += [n for s in lab.plan(more).steps() for n in s.upstream() if n.kind == "dataset"]
    step = next(step for step in steps if step.config.evaluation_set == "more")
    with (folder / "test.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": "good", "label": 1}) + "\n")
    with pytest.raises(SpecError, match="not those that this job was planned with") as caught:
        list(run_step(step, lab.store, 1))
    assert [problem.path for problem in caught.value.problems] == ["task.evaluation.more"]
    assert not lab.store.has(step)


def source(folder: Path, split: str) -> list[dict[str, Any]]:
    text = (folder / f"{split}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("data", "kind", "dtype"),
    [("reviews", "classification", torch.int64), ("ratings", "regression", torch.float32)],
)
def test_examples_come_back_in_the_order_of_their_source(
    lab: Any, data: str, kind: str, dtype: torch.dtype
) -> None:
    plan = lab.plan(f"task.kind={kind}", data=data)
    step = lab.step(plan, "dataset")
    list(run_step(step, lab.store, 1))
    folder = lab.store.folder(step)
    tokenizer = load_tokenizer(lab.folder / "teacher")
    reading = LabelReading(kind, 2, max_length=12, padding="right")
    assert sorted(lab.store.manifest(step).files) == [
        "test.parquet",
        "train.parquet",
        "validation.parquet",
    ]
    for split in ("train", "validation", "test"):
        expected = source(lab.folder / data, split)
        rows = read_rows(folder, split)
        assert rows["text"].to_pylist() == [row["text"] for row in expected]
        labels = [row["label"] for row in expected]
        assert rows["label"].to_pylist() == pytest.approx(labels)
        labels_N = encode(rows, tokenizer, reading).batch(range(len(rows))).labels_N
        assert labels_N.dtype == dtype
        assert labels_N.tolist() == pytest.approx(labels)
        assert split_rows(folder, split) == len(expected) > 0


def test_the_summary_describes_the_splits(lab: Any) -> None:
    classes = lab.step(lab.plan(), "dataset")
    numbers = lab.step(lab.plan("task.kind=regression", data="ratings"), "dataset")
    for step in (classes, numbers):
        list(run_step(step, lab.store, 1))
    shared = {"also_in_train": 0}
    assert lab.store.manifest(classes).summary == {
        "train": {"rows": 26, "classes": {"0": 13, "1": 13}, "skipped": 0},
        "validation": shared | {"rows": 9, "classes": {"0": 5, "1": 4}, "skipped": 0},
        "test": shared | {"rows": 11, "classes": {"0": 6, "1": 5}, "skipped": 0},
    }
    labels = [row["label"] for row in source(lab.folder / "ratings", "train")]
    assert lab.store.manifest(numbers).summary["train"] == {
        "rows": 26,
        "label_min": min(labels),
        "label_max": max(labels),
        "skipped": 0,
    }


def test_the_summary_counts_inputs_that_training_has_too(
    fresh: Callable[[], Any], tmp_path: Path
) -> None:
    lab = fresh()
    folder = shutil.copytree(lab.folder / "reviews", tmp_path / "reviews")
    again = [row["text"] for row in source(folder, "train")[:2]]
    with (folder / "test.jsonl").open("a", encoding="utf-8") as stream:
        # Whatever its label, and however often.
        stream.writelines(json.dumps({"text": t, "label": 1}) + "\n" for t in [*again, again[0]])
    train = {row["text"] for row in source(folder, "train")}
    expected = {
        split: sum(row["text"] in train for row in source(folder, split))
        for split in ("validation", "test")
    }
    assert expected["test"] >= 3
    with (folder / "test.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"text": f"{again[0].upper()} !", "label": 1}) + "\n")
    step = lab.step(lab.plan(f"task.data.path={folder}"), "dataset")
    list(run_step(step, lab.store, 1))
    summary = lab.store.manifest(step).summary
    assert {split: summary[split]["also_in_train"] for split in expected} == expected
    assert summary["test"]["nearly_in_train"] == 1
    assert "also_in_train" not in summary["train"]


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 rows in row groups of 5."""
    folder = tmp_path_factory.mktemp("groups")
    table = pa.table({"text": [f"größe {n}" for n in range(23)], "label": list(range(23))})
    pq.write_table(table, folder / "train.parquet", row_group_size=5)
    return folder


@given(start=st.integers(0, 23), length=st.integers(0, 30))
def test_any_slice_reads_its_rows(groups: Path, start: int, length: int) -> None:
    """The file says how long its row groups are, whatever length is written today."""
    rows = read_rows(groups, "train", start, start + length)
    expected = list(range(23))[start : start + length]
    assert rows["label"].to_pylist() == expected
    assert rows["text"].to_pylist() == [f"größe {n}" for n in expected]


def test_a_slice_reads_no_other_row_group(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    read: Callable[..., Any] = pq.ParquetFile.read_row_groups

    def spy(self: Any, groups: list[int]) -> Any:
        asked.append(list(groups))
        return read(self, groups)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    for bounds in ((0, 5), (5, 10), (4, 6), (7, 8), (20, 23), (0, 23)):
        read_rows(groups, "train", *bounds)
    assert asked == [[0], [1], [0, 1], [1], [4], [0, 1, 2, 3, 4]]


def test_row_groups_are_written_small(
    fresh: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "ROW_GROUP", 10)
    lab = fresh()
    step = lab.step(lab.plan(), "dataset")
    list(run_step(step, lab.store, 1))
    file = pq.read_metadata(lab.store.folder(step) / "train.parquet")
    assert [file.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 6]
    assert len(read_rows(lab.store.folder(step), "train", 9, 21)) == 12
