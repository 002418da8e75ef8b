"""Publishes a data set: splits read from their source once, stored as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..artifacts import Artifacts
from ..data import SPLITS, load_evaluation, load_splits
from ..plan import DatasetConfig
from ..spec import ClassificationTask, Task, TextTask
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
        tables, skipped = _load(config)
        for split, table in tables.items():
            pq.write_table(table, draft.folder / f"{split}.parquet", row_group_size=ROW_GROUP)
            profile = _profile(table, config.task)
            draft.summary[split] = profile | {"skipped": skipped.get(split, 0)}
            if split != "train" and "train" in tables:
                draft.summary[split]["also_in_train"] = _shared(table, tables["train"])
    return iter(())


def _load(config: DatasetConfig) -> tuple[dict[str, pa.Table], Mapping[str, int]]:
    """The splits, and the number of rows that were left out of each."""
    if config.evaluation_set is not None:
        return {"test": load_evaluation(config.task, config.evaluation_set, config.fingerprint)}, {}
    splits = load_splits(config.task, config.fingerprint)
    return {split: getattr(splits, split) for split in SPLITS}, splits.skipped


def _profile(table: pa.Table, task: Task) -> dict[str, object]:
    if isinstance(task, ClassificationTask):
        counts = pc.value_counts(table["label"]).to_pylist()
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


def _shared(table: pa.Table, train: pa.Table) -> int:
    """The number of examples whose input is also in the training split, as in some sources.

    Splits that are drawn here have none.
    """
    names = [name for name in ("text", "text_pair", "prompt") if name in table.column_names]
    keys = [
        # No text contains a zero byte, so different pairs have different keys.
        pc.binary_join_element_wise(*(part[name] for name in names), "\0")
        for part in (table, train)
    ]
    return int(pc.sum(pc.is_in(keys[0], value_set=keys[1].combine_chunks())).as_py() or 0)
