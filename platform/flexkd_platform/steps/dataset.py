"""The data set step: splits read from their source once, kept as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ..data import load_splits
from ..plan import Step
from ..spec import Task
from ..store import Store

ROW_GROUP = 1024
"""Rows of a Parquet row group: what a scoring worker holds in memory to read one chunk."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """Some rows of a split: texts, and labels (int64 classes or fp32 numbers)."""

    texts: list[str]
    labels: Tensor


def make_dataset(step: Step, store: Store) -> None:
    """Read the source and publish `train`, `validation` and `test` as Parquet files."""
    task: Task = TypeAdapter(Task).validate_python(step.run["task"], strict=False)
    splits = load_splits(task)
    with store.publish(step) as draft:
        for name in SPLITS:
            table: pa.Table = getattr(splits, name)
            pq.write_table(table, draft.folder / f"{name}.parquet", row_group_size=ROW_GROUP)
            draft.summary[name] = _profile(table, task.kind)


def _profile(table: pa.Table, kind: str) -> dict[str, object]:
    if kind == "classification":
        counts = pc.value_counts(table["label"]).to_pylist()
        classes = {str(entry["values"]): entry["counts"] for entry in counts}
        return {"rows": table.num_rows, "classes": dict(sorted(classes.items()))}
    bounds = pc.min_max(table["label"]).as_py()
    return {"rows": table.num_rows, "label_min": bounds["min"], "label_max": bounds["max"]}


def split_rows(folder: Path, split: str) -> int:
    """How many rows a split has, read from the file's footer."""
    return int(pq.read_metadata(folder / f"{split}.parquet").num_rows)


def read_rows(folder: Path, split: str, start: int = 0, stop: int | None = None) -> Rows:
    """Rows `start` to `stop` of a split; only the row groups that hold them are read."""
    with pq.ParquetFile(folder / f"{split}.parquet") as file:
        stop = file.metadata.num_rows if stop is None else min(stop, file.metadata.num_rows)
        size = file.metadata.row_group(0).num_rows  # as written, which need not be today's
        groups = range(start // size, -(-stop // size))
        table = file.read_row_groups(list(groups)).slice(start - groups.start * size, stop - start)
    labels = table["label"].to_numpy()
    dtype = torch.long if pa.types.is_integer(table.schema.field("label").type) else torch.float32
    return Rows(table["text"].to_pylist(), torch.tensor(labels).to(dtype))
