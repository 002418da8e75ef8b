"""The predictions that an evaluate step publishes for one set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

TEXT_COLUMNS = ("seed", "example", "prediction", "references")
"""Of generated texts; other columns are scores of each text, by the name of their metric."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is known of each example of a set.

    examples: their number.
    digest: SHA-256 of labels or references, which tells whether two models had the same examples.
    labels_N, outputs_NC: of a task with one label an example; None for other tasks.
    scores: metric → score of each generated text, (N,), the mean over the seeds of decoding.
    """

    examples: int
    digest: str
    labels_N: FloatArray | None = None
    outputs_NC: FloatArray | None = None
    scores: Mapping[str, FloatArray] = field(default_factory=dict)


def read_predictions(file: Path) -> Predictions:
    """The content of `predictions.parquet`, without the generated texts."""
    names = pq.read_schema(file).names
    if "prediction" not in names:
        return _labelled(pq.read_table(file))
    table = pq.read_table(file, columns=[name for name in names if name != "prediction"])
    examples = len(set(table["example"].to_pylist()))
    scores = {
        name: table[name].to_numpy().reshape(-1, examples).mean(axis=0)
        for name in names
        if name not in TEXT_COLUMNS and examples
    }
    return Predictions(examples, _digest(table["references"]), scores=scores)


def _labelled(table: pa.Table) -> Predictions:
    labels = table["label"]
    if not (pa.types.is_integer(labels.type) or pa.types.is_floating(labels.type)):
        return Predictions(len(table), _digest(labels))
    outputs_NC = np.array(table["outputs"].to_pylist(), dtype=np.float64)
    labels_N = labels.to_numpy().astype(np.float64)
    return Predictions(len(table), _digest(labels), labels_N, outputs_NC)


def _digest(column: pa.ChunkedArray) -> str:
    return hashlib.sha256(repr(column.to_pylist()).encode()).hexdigest()
