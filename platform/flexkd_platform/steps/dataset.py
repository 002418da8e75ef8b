"""Publishes a data set: splits read from their source once, stored as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..artifacts import Artifacts
from ..data import ORIGIN, SPLITS, load_evaluation, load_splits, nearly_shared, shared
from ..plan import DatasetConfig
from ..spec import ClassificationTask, MultilabelTask, Task, TextTask
from ..tracking import Progress
from .context import Output, RunContext

ROW_GROUP = 1024
"""Rows per Parquet row group: a scoring worker loads one row group at a time to read a chunk."""


def run(
    config: DatasetConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Read the source and publish its splits as Parquet; only `test` for an evaluation set.

    Raises:
        SpecError: the source has changed since the step was planned, or cannot be read.
    """
    with out.publish() as draft:
        tables, rows = _load(config)
        for split, table in tables.items():
            pq.write_table(table, draft.folder / f"{split}.parquet", row_group_size=ROW_GROUP)
            draft.summary[split] = _profile(table, config.task) | rows.get(split, {})
            draft.summary[split] |= _leaked(split, tables)
    return iter(())


def _leaked(split: str, tables: Mapping[str, pa.Table]) -> dict[str, int]:
    """How many examples of a split another one has too, or nearly."""
    if split == "train" or "train" not in tables:
        return {}
    found = {"also_in_train": shared(tables[split], tables["train"])}
    found_if_any = {"nearly_in_train": nearly_shared(tables[split], tables["train"])}
    if split == "validation":
        found_if_any |= {
            "also_in_test": shared(tables[split], tables["test"]),
            "nearly_in_test": nearly_shared(tables[split], tables["test"]),
        }
    return found | {key: rows for key, rows in found_if_any.items() if rows}


def _load(config: DatasetConfig) -> tuple[dict[str, pa.Table], dict[str, dict[str, int]]]:
    """The splits, and the numbers of rows that were left out of each."""
    if config.evaluation_set is not None:
        table, facts = load_evaluation(config.task, config.evaluation_set, config.fingerprint)
        return {"test": table}, {"test": {"skipped": facts.skipped}}
    splits = load_splits(config.task, config.fingerprint)
    rows = {split: {"skipped": splits.skipped.get(split, 0)} for split in SPLITS}
    for split, dropped in splits.dropped.items():
        rows[split]["dropped"] = dropped
    return {split: getattr(splits, split) for split in SPLITS}, rows


def _profile(table: pa.Table, task: Task) -> dict[str, object]:
    """Statistics of the labels or texts, and the numbers of examples of each part of a mixture."""
    found = _statistics(table, task)
    if ORIGIN in table.column_names:
        counts = pc.value_counts(table[ORIGIN]).to_pylist()
        found["origins"] = {str(entry["values"]): entry["counts"] for entry in counts}
    return found


def _statistics(table: pa.Table, task: Task) -> dict[str, object]:
    if isinstance(task, ClassificationTask | MultilabelTask):
        label = table["label"].combine_chunks()
        index = label.flatten() if pa.types.is_list(label.type) else label
        counts = pc.value_counts(index).to_pylist()
        classes = {str(entry["values"]): entry["counts"] for entry in counts}
        return {"rows": table.num_rows, "classes": dict(sorted(classes.items()))}
    if isinstance(task, TextTask):
        bounds = pc.min_max(table["label"]).as_py()
        return {"rows": table.num_rows, "label_min": bounds["min"], "label_max": bounds["max"]}
    words = [
        pc.mean(pc.list_value_length(pc.utf8_split_whitespace(table[name]))).as_py()
        for name in ("prompt", "response")
    ]
    return {"rows": table.num_rows, "prompt_words": words[0], "response_words": words[1]}
