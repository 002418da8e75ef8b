"""The training rows of a student: those with a label, and those that serve the teacher's signal.

Shapes: N training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flexkd_core import drawn_order, drawn_stratified

from ..artifacts import is_label_list, without_lists
from ..plan import DistillConfig, TrainingConfig
from ..tasks import without_label


@dataclass(frozen=True)
class StudentRows:
    """Row numbers of the training split, ascending.

    labelled: those whose labels the student reads.
    read: all rows that it is trained on.
    epoch: rows of an epoch: the same for every method, so that all take as many steps.
    """

    labelled: Sequence[int]
    read: Sequence[int]
    epoch: int


def student_rows(config: TrainingConfig, table: pa.Table) -> StudentRows:
    """The rows of a student; a method without a teacher reads the labelled ones alone.

    Labelled rows are drawn by the trial's seed, in proportion to the classes. They are the same for
    every method.
    """
    total, wanted = table.num_rows, config.rows
    if wanted is None:
        everything = range(total)
        return StudentRows(everything, everything, total)
    labelled = drawn_stratified(_strata(table), wanted.labels, config.seed)
    order_N = drawn_order(total, config.seed)
    others = order_N[~np.isin(order_N, labelled)][: wanted.unlabelled]
    taught = isinstance(config, DistillConfig) and config.teacher is not None
    read = np.sort(np.concatenate([labelled, others])) if taught else labelled
    return StudentRows(labelled.tolist(), read.tolist(), len(labelled) + len(others))


def masked(table: pa.Table, labelled: Sequence[int]) -> pa.Table:
    """The table without the labels of all other rows; a table of texts is returned as it is."""
    if "label" not in table.column_names or len(labelled) == table.num_rows:
        return table
    column, place = table.schema.field("label"), table.column_names.index("label")
    if is_label_list(column.type):
        lists = without_lists(table["label"], set(labelled))
        return table.set_column(place, column, lists)
    labels_N = without_label(table["label"].to_numpy())
    labels_N[list(labelled)] = table["label"].to_numpy()[list(labelled)]
    return table.set_column(place, column, pa.array(labels_N))


def _strata(table: pa.Table) -> NDArray[np.int64]:
    """The class of each row; one stratum for lists of classes, numbers and texts."""
    if "label" in table.column_names and pa.types.is_integer(table.schema.field("label").type):
        classes_N: NDArray[np.int64] = table["label"].to_numpy().astype(np.int64)
        return classes_N
    return np.zeros(table.num_rows, dtype=np.int64)
