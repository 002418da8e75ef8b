"""The data sets that are included in the package; `builtin/*.md` describes each of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..spec import BuiltinData, BuiltinDocstrings, InstructionTask, Task, regresses, sha256_of
from .files import file_digest
from .reading import READING_VERSION, Examples, Purpose, Reading
from .responses import responses_array
from .splits import SPLITS, drawn

_FOLDER = Path(__file__).with_name("builtin")

FILES = {
    "movie-reviews": _FOLDER / "movie_reviews.parquet",
    "docstrings": _FOLDER / "docstrings.parquet",
}

SHARES = {"test": 0.1, "validation": 0.1}
"""Shares of all examples. Fixed, so that `subset_seed` never moves an example to another split."""

DOCSTRING_INSTRUCTION = (
    "Summarize the following documentation of a Python function or class in one sentence."
)
"""The instruction for each docstring in instruction tasks."""


def read_builtin(task: Task, path: str, purpose: Purpose) -> Reading:
    """A data set of the package, in the format of the task."""
    data = task.data
    if isinstance(data, BuiltinData):
        splits = _movie_reviews(task)
    else:
        assert isinstance(data, BuiltinDocstrings), "READERS goes by the source"
        splits = _docstrings(task)
    wanted = SPLITS if purpose == "training" else ("test",)
    examples = {
        split: Examples(table, f"{data.name} ({split})")
        for split, table in splits.items()
        if split in wanted
    }
    identity = {
        "name": data.name,
        "content": file_digest(FILES[data.name]),
        "version": READING_VERSION,
    }
    return Reading(f"{path}.name", examples, sha256_of(identity))


def _read(name: str, columns: list[str]) -> pa.Table:
    # `read_table` imports pandas, which takes half a second.
    return pq.ParquetFile(FILES[name]).read(columns)


def _movie_reviews(task: Task) -> dict[str, pa.Table]:
    """Rated texts: the rating itself for regression, its sign for classification (1: positive).

    A mean rating of exactly 0 (37 of the movie reviews) counts as not positive, so that both
    tasks have the same examples.
    """
    rated = _read("movie-reviews", ["text", "rating"])
    label = rated["rating"]
    if not regresses(task.kind):
        label = pc.greater(label, 0).cast(pa.int64())
    table = pa.table({"text": rated["text"], "label": label})
    part_N = drawn(table["text"].to_pylist(), SHARES, seed=0)
    return {name: table.filter(pa.array(part_N == name)) for name in SPLITS}


def _docstrings(task: Task) -> dict[str, pa.Table]:
    """Documents with their first lines as summaries; instruction tasks also have an instruction.

    The file names each row's split, so that no module is in two of them.
    """
    stored = _read("docstrings", ["document", "summary", "split"])
    summary = responses_array(stored["summary"].to_pylist(), nested=False)
    if isinstance(task, InstructionTask):
        instruction = pa.array([DOCSTRING_INSTRUCTION] * len(stored))
        columns = {"instruction": instruction, "input": stored["document"], "output": summary}
    else:
        columns = {"document": stored["document"], "summary": summary}
    table = pa.table(columns)
    return {name: table.filter(pc.equal(stored["split"], name)) for name in SPLITS}
