"""The data sets that travel with the package; `builtin/*.md` describes each of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..spec import BuiltinData, Task, sha256_of
from .files import file_digest
from .reading import READING_VERSION, Examples, Reading
from .splits import drawn

FILES = {"movie-reviews": Path(__file__).with_name("builtin") / "movie_reviews.parquet"}

SHARES = {"test": 0.1, "validation": 0.1}
"""Of all examples. Fixed, so that `subset_seed` never moves an example to another split."""


def read_builtin(task: Task, path: str) -> Reading:
    """Rated texts: the rating itself for regression, its sign for classification (1: positive).

    A mean rating of exactly 0 (37 of the movie reviews) counts as not positive, so that both
    tasks have the same examples.
    """
    data = task.data
    assert isinstance(data, BuiltinData), "READERS goes by the source"
    file = FILES[data.name]
    rated = pq.read_table(file, columns=["text", "rating"])
    label = rated["rating"]
    if task.kind == "classification":
        label = pc.greater(label, 0).cast(pa.int64())
    table = pa.table({"text": rated["text"], "label": label})
    part_N = drawn(table["text"].to_pylist(), SHARES, seed=0)
    splits = {
        name: Examples(table.filter(pa.array(part_N == name)), f"{data.name} ({name})")
        for name in ("train", "validation", "test")
    }
    identity = {"name": data.name, "content": file_digest(file), "version": READING_VERSION}
    return Reading(f"{path}.name", splits, sha256_of(identity))
