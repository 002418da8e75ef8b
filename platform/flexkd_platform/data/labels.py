"""Convert a source's labels to class indices or numbers, and report invalid labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import ClassificationTask, Problem, Task
from .columns import listed, shortened
from .reading import Examples

MANY_CLASSES = 20
"""More classes than this, and than half the number of examples, are treated as a mistake."""

LARGEST = 2**31
"""Class indices are below this."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass
class Labels:
    """The labels of each split (int64 classes or float64 numbers) and the number of classes.

    If there are problems, `columns` may lack splits and `classes` is None, as it is for regression.
    `words` are the classes' names, None if the source numbers them.
    """

    columns: dict[str, pa.Array] = field(default_factory=dict)
    classes: int | None = None
    words: list[str] | None = None
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class _Column:
    """One split's labels, and the problems of invalid ones.

    values: bool, float64 or trimmed string, with nulls.
    """

    values: pa.Array
    examples: Examples
    path: str
    problems: list[Problem]

    def reject(self, wrong_N: np.ndarray, what: str, remedy: str) -> None:
        """One problem for all rows where `wrong_N` is true; `what` describes the first label."""
        if wrong_N.any():
            label = self.examples.table["label"][int(np.argmax(wrong_N))].as_py()
            message = f"{self.examples.rows(wrong_N)}: label {shortened(repr(label))} {what}"
            self.problems.append(Problem(self.path, message, remedy))

    def reject_missing(self) -> np.ndarray:
        """Which rows have no label; adds a problem if any."""
        missing_N = _numpy(pc.is_null(self.values))
        if pa.types.is_string(self.values.type):
            missing_N |= _numpy(pc.equal(self.values, ""))
        if missing_N.any():
            message = f"{self.examples.rows(missing_N)} has no label"
            remedy = "label the row or remove it; missing: skip leaves such rows out"
            self.problems.append(Problem(self.path, message, remedy))
        return missing_N

    def words(self) -> list[str] | None:
        """The distinct labels in sorted order if they are words; None if any is a number."""
        if not pa.types.is_string(self.values.type) or _numpy(_is_number(self.values)).any():
            return None
        return sorted(word for word in pc.unique(self.values).to_pylist() if word) or None

    def numbers(self) -> np.ndarray:
        """The labels as float64; NaN for those that are not numbers, which are rejected."""
        missing_N = self.reject_missing()
        values = self.values
        foreign_N = np.zeros(len(values), dtype=bool)
        if pa.types.is_string(values.type):
            number = _is_number(values)
            foreign_N = ~_numpy(number) & ~missing_N
            # Arrow's parser does not accept a leading plus.
            values = pc.replace_substring_regex(pc.if_else(number, values, None), r"^\+", "")
        value_N = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        self.reject(foreign_N, "is not a number", "make all labels numbers, or all of them words")
        unusable_N = ~np.isfinite(value_N) & ~missing_N & ~foreign_N
        self.reject(unusable_N, "is not finite", "labels must be finite numbers")
        return np.where(np.isfinite(value_N), value_N, np.nan)


def class_labels(
    splits: Mapping[str, Examples],
    task: ClassificationTask,
    path: str,
    known: Labels | None = None,
) -> Labels:
    """Whole numbers from 0, true and false, or words.

    Words become their index among the sorted words of the train split; in an evaluation set, among
    those of the training data.
    """
    result = Labels()
    columns = _columns(splits, f"{path}.label", result)
    if known is not None:
        result.classes, result.words = known.classes, known.words
        for name, column in columns.items():
            result.columns[name] = (
                _whole_numbers(column, known.classes)
                if known.words is None
                else _place_among(known.words, column)
            )
        return result
    words = result.words = columns["train"].words() if "train" in columns else None
    for name, column in columns.items():
        if words is not None:
            result.columns[name] = _place_among(words, column)
        elif "train" in columns or column.words() is None:
            result.columns[name] = _whole_numbers(column, task.classes)
    if result.problems or "train" not in columns:
        return result
    largest = max((pc.max(label).as_py() or 0 for label in result.columns.values()), default=0)
    needed = len(words) if words is not None else int(largest) + 1
    result.problems += _class_count_problems(needed, words, task, columns["train"], path)
    result.classes = task.classes or needed
    return result


def number_labels(splits: Mapping[str, Examples], path: str) -> Labels:
    """Finite numbers."""
    result = Labels()
    for name, column in _columns(splits, f"{path}.label", result).items():
        if pa.types.is_boolean(column.values.type):
            all_N = np.ones(len(column.values), dtype=bool)
            column.reject(all_N, "is not a number", "give numbers, or use kind: classification")
        else:
            result.columns[name] = pa.array(column.numbers())
    return result


def read_labels(
    splits: Mapping[str, Examples], task: Task, path: str, known: Labels | None = None
) -> Labels:
    """The labels of a task.

    Args:
        splits: the examples.
        task: the task, which determines the type of the labels.
        path: of `task.data` in the spec.
        known: the training data's labels, if the splits are those of an evaluation set.
    """
    if isinstance(task, ClassificationTask):
        return class_labels(splits, task, path, known)
    return number_labels(splits, path)


def _columns(splits: Mapping[str, Examples], path: str, result: Labels) -> dict[str, _Column]:
    columns = {}
    for name, examples in splits.items():
        column = examples.table["label"].combine_chunks()
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.dictionary_decode(), kind.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        elif _is_numeric(kind) or pa.types.is_null(kind):
            column = column.cast(pa.float64(), safe=False)
        elif not pa.types.is_boolean(kind):
            message = f"the labels of {examples.origin} are of type {kind}"
            remedy = "labels must be numbers or words"
            result.problems.append(Problem(path, message, remedy))
            continue
        columns[name] = _Column(column, examples, path, result.problems)
    return columns


def _place_among(words: list[str], column: _Column) -> pa.Array:
    missing_N = column.reject_missing()
    place = pc.index_in(column.values.cast(pa.string()), pa.array(words)).cast(pa.int64())
    unseen_N = _numpy(pc.is_null(place)) & ~missing_N
    remedy = "every class must have examples in the train split"
    column.reject(unseen_N, f"is not among those of the train split: {listed(words)}", remedy)
    return place


def _whole_numbers(column: _Column, classes: int | None) -> pa.Array:
    value_N = column.numbers()
    broken_N = np.isfinite(value_N) & (value_N != np.floor(value_N))
    remedy = "classes are whole numbers from 0; for other numbers use kind: regression"
    column.reject(broken_N, "is not a whole number", remedy)
    remedy = "classes are whole numbers from 0; missing: skip leaves out rows whose label is -1"
    column.reject(value_N < 0, "is negative", remedy)
    if classes is None:
        column.reject(value_N >= LARGEST, "is too large for a class", "number the classes from 0")
    else:
        remedy = f"labels go from 0 to {classes - 1}; correct them, or raise task.classes"
        column.reject(value_N >= classes, f"is outside the head of {classes} classes", remedy)
    return pa.array(value_N, from_pandas=True).cast(pa.int64(), safe=False)


def _class_count_problems(
    needed: int, words: list[str] | None, task: ClassificationTask, train: _Column, path: str
) -> list[Problem]:
    rows = len(train.values)
    if words is not None and task.classes is not None and needed > task.classes:
        message = (
            f"{train.examples.origin} has {needed} classes ({listed(words)}), outside the head of "
            f"{task.classes}"
        )
        return [Problem(f"{path}.label", message, f"correct the labels, or task.classes: {needed}")]
    if task.classes is None and needed > max(MANY_CLASSES, rows / 2):
        message = f"{train.examples.origin} has {rows:,} examples of {needed:,} classes"
        remedy = f"name the column that holds the label, or set task.classes: {needed}"
        return [Problem(f"{path}.label", message, remedy)]
    return []


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_number(values: pa.Array) -> pa.Array:
    return pc.match_substring_regex(values, _NUMBER).fill_null(False)


def _numpy(mask: pa.Array) -> np.ndarray:
    # A copy: Arrow's memory is read-only.
    return np.array(mask.to_numpy(zero_copy_only=False), dtype=bool)
