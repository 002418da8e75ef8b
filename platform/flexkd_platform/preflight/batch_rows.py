"""Whether a batch has enough rows for feature losses that compare its rows with each other.

A label task has one pooled row per example. The rows of all workers and micro-batches of a step are
compared together, so only `distill.batch_size` and the number of rows that are read matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..data import DataFacts
from ..plan import epoch_rows, labelled_rows
from ..spec import FEWEST_ROWS, JobSpec, Problem, TextTask, counted

FEW_ROWS = 16
"""Batches with fewer rows give a poor estimate of a correlation."""

BATCH_SIZE = "distill.batch_size"


def batch_row_problems(spec: JobSpec, data: DataFacts | None) -> Iterator[Problem]:
    """The problems of batches whose feature loss has no gradient, or none worth following."""
    methods = _comparing(spec)
    if not methods:
        return
    if spec.distill.batch_size < FEWEST_ROWS:
        yield Problem(
            BATCH_SIZE,
            f"{spec.distill.batch_size}, but {', '.join(methods)} compare the rows of a batch, "
            f"which takes at least {FEWEST_ROWS}",
            f"{FEW_ROWS} or more, or use projector, whose loss is a sum over rows",
        )
        return
    if data is None:
        return
    total = data.sizes["train"]
    rows = epoch_rows(spec.student, total)
    if rows < FEWEST_ROWS:
        yield Problem(
            "task.data.train" if rows == total else "student.labels",
            f"a student reads {counted(rows, 'row')}, but {', '.join(methods)} compare the "
            f"rows of a batch, which takes at least {FEWEST_ROWS}",
            f"{FEW_ROWS} rows or more",
        )
    labels = labelled_rows(spec.student.labels, total)
    if labels < FEWEST_ROWS <= rows and any(m.normalises for m in spec.sweep.methods):
        yield Problem(
            "student.labels",
            f"{labels}, but normalise: gradient compares the features of labelled rows, which "
            f"takes at least {FEWEST_ROWS}",
            f"{FEWEST_ROWS} rows or more, or normalise: none",
        )


def batch_row_warnings(spec: JobSpec, data: DataFacts) -> Iterator[Problem]:
    """Batches with few rows."""
    methods = _comparing(spec)
    rows = min(spec.distill.batch_size, epoch_rows(spec.student, data.sizes["train"]))
    if methods and rows < FEW_ROWS:
        yield Problem(
            BATCH_SIZE,
            f"{', '.join(methods)} compare the rows of a batch, and a correlation "
            f"is estimated poorly from {counted(rows, 'row')}",
            f"{FEW_ROWS} or more",
        )


def _comparing(spec: JobSpec) -> Sequence[str]:
    """The methods whose feature loss compares pooled rows, which those of label tasks are."""
    if not isinstance(spec.task, TextTask):
        return ()
    comparing = (m.kind for m in spec.sweep.methods if m.uses_features and m.compares_rows)
    return list(dict.fromkeys(comparing))
