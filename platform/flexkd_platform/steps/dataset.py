"""The data set step: splits read from their source once, kept as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from ..data import load_evaluation, load_splits
from ..plan import Step
from ..spec import Task
from ..store import Store

ROW_GROUP = 1024
"""Rows of a Parquet row group: what a scoring worker holds in memory to read one chunk."""

SPLITS = ("train", "validation", "test")


def make_dataset(step: Step, store: Store) -> None:
    """Read the source and publish its splits as Parquet; of an evaluation set `test` alone.

    Raises:
        SpecError: the source is not what it was when the step was planned, or cannot be read.
    """
    task: Task = TypeAdapter(Task).validate_python(step.run["task"], strict=False)
    name, fingerprint = step.run["set"], step.identity["fingerprint"]
    with store.publish(step) as draft:
        skipped: Mapping[str, int] = {}
        if name is not None:
            tables = {"test": load_evaluation(task, name, fingerprint)}
        else:
            splits = load_splits(task, fingerprint)
            tables = {split: getattr(splits, split) for split in SPLITS}
            skipped = splits.skipped
        for split, table in tables.items():
            pq.write_table(table, draft.folder / f"{split}.parquet", row_group_size=ROW_GROUP)
            draft.summary[split] = _profile(table, task.kind) | {"skipped": skipped.get(split, 0)}
            if split != "train" and "train" in tables:
                draft.summary[split]["also_in_train"] = _shared(table, tables["train"])


def _profile(table: pa.Table, kind: str) -> dict[str, object]:
    if kind == "classification":
        counts = pc.value_counts(table["label"]).to_pylist()
        classes = {str(entry["values"]): entry["counts"] for entry in counts}
        return {"rows": table.num_rows, "classes": dict(sorted(classes.items()))}
    if kind == "regression":
        bounds = pc.min_max(table["label"]).as_py()
        return {"rows": table.num_rows, "label_min": bounds["min"], "label_max": bounds["max"]}
    words = [
        pc.mean(pc.list_value_length(pc.utf8_split_whitespace(table[name]))).as_py()
        for name in ("prompt", "response")
    ]
    return {"rows": table.num_rows, "prompt_words": words[0], "response_words": words[1]}


def _shared(table: pa.Table, train: pa.Table) -> int:
    """How many examples have an input that training examples have too: what a source may hold.

    Splits that are drawn here have none.
    """
    names = [name for name in ("text", "text_pair", "prompt") if name in table.column_names]
    keys = [
        # No text holds a zero byte, so no two pairs have one key.
        pc.binary_join_element_wise(*(part[name] for name in names), "\0")
        for part in (table, train)
    ]
    return int(pc.sum(pc.is_in(keys[0], value_set=keys[1].combine_chunks())).as_py() or 0)


def split_rows(folder: Path, split: str) -> int:
    """How many rows a split has, read from the file's footer."""
    return int(pq.read_metadata(folder / f"{split}.parquet").num_rows)


def read_rows(folder: Path, split: str, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of a split; only the row groups that hold them are read."""
    with SplitReader(folder, split) as reader:
        return reader.rows(start, stop)


class SplitReader:
    """A split for somebody who reads one slice after the other.

    The file is opened once, and what was read of it for the last slice is kept: slices smaller
    than a row group would otherwise read it again and again.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self._file = pq.ParquetFile(folder / f"{split}.parquet")
        self._total: int = self._file.metadata.num_rows
        self._size: int = self._file.metadata.row_group(0).num_rows  # which need not be today's
        self._groups = range(0)
        self._kept: pa.Table | None = None

    def rows(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Rows `start` to `stop`; only the row groups that hold them are read."""
        stop = self._total if stop is None else min(stop, self._total)
        groups = range(start // self._size, -(-stop // self._size))
        if self._kept is None or groups != self._groups:
            self._kept, self._groups = self._file.read_row_groups(list(groups)), groups
        return self._kept.slice(start - groups.start * self._size, stop - start)

    def __enter__(self) -> SplitReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
