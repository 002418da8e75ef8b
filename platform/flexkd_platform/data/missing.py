"""Rows without a label: refused, or left out and counted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import ClassificationTask, LabelListColumns, Problem, Task, TextColumns
from .reading import Examples

_WITHHELD = r"^-1(\.0*)?$"
"""-1 marks an example without a class in SNLI, ANLI and GLUE."""


def without_missing(
    splits: Mapping[str, Examples], task: Task, path: str
) -> tuple[dict[str, Examples], dict[str, int], list[Problem]]:
    """The splits without the rows that have no label, if the data section skips them.

    A label is missing if it is null, empty or not a number (NaN); a class also if it is -1. A list
    of classes is missing if it is null; an empty one is a row without a class.

    Returns:
        The splits; the number of rows that were left out of each; problems of splits that have no
        row with a label.
    """
    data = task.data
    if not isinstance(data, TextColumns | LabelListColumns) or data.missing != "skip":
        return dict(splits), dict.fromkeys(splits, 0), []
    kept, skipped, problems = {}, {}, []
    for name, examples in splits.items():
        column = "label" if isinstance(data, TextColumns) else "labels"
        missing_N = _missing(examples.table[column], isinstance(task, ClassificationTask))
        kept[name] = examples.without(missing_N)
        skipped[name] = int(missing_N.sum())
        if skipped[name] and missing_N.all():
            message = f"no row of {examples.origin} has a label"
            remedy = "name the column of the label, or take the file or split away"
            problems.append(Problem(f"{path}.{column}", message, remedy))
    return kept, skipped, problems


def _missing(column: pa.ChunkedArray, of_classes: bool) -> np.ndarray:
    label = column.combine_chunks()
    if pa.types.is_dictionary(label.type):
        label = label.dictionary_decode()
    missing = pc.is_null(label)
    if pa.types.is_string(label.type) or pa.types.is_large_string(label.type):
        trimmed = pc.utf8_trim_whitespace(label)
        missing = pc.or_(missing, pc.equal(trimmed, "").fill_null(False))
        if of_classes:
            found = pc.match_substring_regex(trimmed, _WITHHELD).fill_null(False)
            missing = pc.or_(missing, found)
    elif pa.types.is_integer(label.type) or pa.types.is_floating(label.type):
        missing = pc.is_null(label, nan_is_null=True)
        if of_classes:
            missing = pc.or_(missing, pc.equal(label, -1).fill_null(False))
    return np.array(missing.to_numpy(zero_copy_only=False), dtype=bool)
