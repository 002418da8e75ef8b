"""Convert a source's labels to class indices or numbers, and report invalid labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import ClassificationTask, MultilabelTask, Problem, Task
from .class_names import NUMBER, alike, in_words, renumbered
from .columns import listed, shortened
from .reading import Examples

MANY_CLASSES = 20
"""More classes than this, and than half the number of examples, are treated as a mistake."""

LARGEST = 2**31
"""Class indices are below this."""

UNSEEN = (
    "correct the label, give the class examples in the train split, or set task.classes to the "
    "number of all classes"
)


@dataclass
class Labels:
    """The labels of each split (int64 classes or float64 numbers) and the number of classes.

    If there are problems, `columns` may lack splits and `classes` is None, as it is for regression.
    `words` are the classes' names, None if the source numbers them. `numbers` are the source's
    numbers of the classes, None if they are 0, 1, 2, …. `titles` are the classes' names where the
    source or the task gives them beside the labels. `class_names` are the source's names of its
    numbers, by number. `by_name`: whether numbers are read as the classes that their source names.
    Of a multi-label task, `columns` are lists of indices; `vectors`: whether the source writes one
    0 or 1 per class.
    """

    columns: dict[str, pa.Array] = field(default_factory=dict)
    classes: int | None = None
    words: list[str] | None = None
    numbers: list[int] | None = None
    titles: list[str] | None = None
    class_names: tuple[str, ...] = ()
    by_name: bool = False
    vectors: bool = False
    problems: list[Problem] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The classes' names: their titles, or labels; empty if these are the numbers from 0."""
        return tuple(self.titles or self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the source, by class; empty if they are the numbers from 0."""
        if self.words is not None:
            return tuple(self.words)
        return tuple(str(number) for number in self.numbers or ())


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
    """Whole numbers, true and false, or words.

    The classes are the labels of the train split in sorted order; in an evaluation set, those of
    the training data. Labels that no training example has are accepted if `task.classes` is set.
    """
    result = Labels()
    splits = _with_one_meaning(splits, f"{path}.label", result, known)
    columns = _columns(splits, f"{path}.label", result)
    if known is not None:
        result.classes, result.words, result.numbers = known.classes, known.words, known.numbers
    elif "train" in columns:
        result.words = columns["train"].words()
    if result.words is not None:
        if known is None:
            result.words = _with_unseen_words(result.words, columns, task.classes)
        for name, column in columns.items():
            result.columns[name] = _place_among(result.words, column)
    elif "train" in columns or known is not None:
        _number_classes(columns, task, result, known)
    else:
        for name, column in columns.items():
            if column.words() is None:
                result.columns[name] = _whole_numbers(column)
    if known is not None or result.problems or "train" not in columns:
        return result
    labels = list(result.labels)
    needed = len(labels) or _largest(result.columns) + 1
    result.problems += class_count_problems(needed, labels, task, splits["train"], f"{path}.label")
    result.classes = task.classes or needed
    name_classes(result, task, splits["train"], path)
    return result


def _with_one_meaning(
    splits: Mapping[str, Examples], path: str, result: Labels, known: Labels | None
) -> dict[str, Examples]:
    """The splits with numbers, or names in place of them, that mean the same in all of them."""
    if known is None:
        found, result.by_name, problems = alike(splits, path)
        result.problems += problems
        result.class_names = found["train"].class_names if "train" in found else ()
        return found
    if known.by_name or known.words is not None:
        return {name: in_words(examples) for name, examples in splits.items()}
    result.class_names = known.class_names
    return {name: renumbered(e, known.class_names) for name, e in splits.items()}


def name_classes(
    result: Labels, task: ClassificationTask | MultilabelTask, train: Examples, path: str
) -> None:
    """Set the classes' titles to those of `task.label_names`, or of the source."""
    labels = list(result.labels) or [str(number) for number in range(result.classes or 0)]
    titles = list(labels)
    if result.words is None and (held := train.class_names):
        titles = [held[int(n)] if int(n) < len(held) else n for n in labels]
    where = f"{path.rpartition('.')[0]}.label_names".lstrip(".")
    for label, name in task.label_names.items():
        if label not in labels:
            message = f"{label!r} is no label of {train.origin}: {listed(labels)}"
            result.problems.append(Problem(where, message, "name labels of the data"))
        else:
            titles[labels.index(label)] = name
    if len(set(titles)) < len(titles):
        twice = next(title for title in titles if titles.count(title) > 1)
        message = f"two classes have the name {twice!r}"
        result.problems.append(Problem(where, message, "give every class its own name"))
    result.titles = None if titles == labels else titles


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
            if pa.types.is_list(kind) or pa.types.is_large_list(kind):
                remedy += "; kind: multilabel reads lists of classes"
            result.problems.append(Problem(path, message, remedy))
            continue
        columns[name] = _Column(column, examples, path, result.problems)
    return columns


def _with_unseen_words(
    words: list[str], columns: Mapping[str, _Column], classes: int | None
) -> list[str]:
    """The words of the train split, and after them those of other splits that `classes` allows."""
    if classes is None:
        return words
    others = {word for column in columns.values() for word in column.words() or ()}
    more = sorted(others - set(words))
    return words + more if len(words) + len(more) <= classes else words


def _place_among(words: list[str], column: _Column) -> pa.Array:
    missing_N = column.reject_missing()
    place = pc.index_in(column.values.cast(pa.string()), pa.array(words)).cast(pa.int64())
    unseen_N = _numpy(pc.is_null(place)) & ~missing_N
    column.reject(unseen_N, f"is not among those of the train split: {listed(words)}", UNSEEN)
    return place


def _number_classes(
    columns: Mapping[str, _Column], task: ClassificationTask, result: Labels, known: Labels | None
) -> None:
    """The classes of whole numbers, added to `result` with the labels of every split."""
    allowed = None
    if task.classes is not None:
        if known is None and _one_based(columns, task.classes):
            result.numbers = list(range(1, task.classes + 1))
        allowed = range(task.classes) if result.numbers is None else range(1, task.classes + 1)
    found = {name: _whole_numbers(column, allowed) for name, column in columns.items()}
    if allowed is None and known is None:
        result.numbers = unless_counted(pc.unique(found["train"]).drop_null().to_pylist())
    held = result.numbers
    if held is None:
        count = known.classes if known is not None else _largest({"train": found["train"]}) + 1
        held = list(range(task.classes or count or 0))
    for name, column in columns.items():
        place = pc.index_in(found[name], pa.array(held, pa.int64())).cast(pa.int64())
        result.columns[name] = pc.if_else(pc.is_null(found[name]), None, place)
        if allowed is None:
            unseen_N = _numpy(pc.is_null(place)) & ~_numpy(pc.is_null(found[name]))
            shown = listed([str(number) for number in held])
            column.reject(unseen_N, f"is not among those of the train split: {shown}", UNSEEN)


def unless_counted(numbers: list[int]) -> list[int] | None:
    """The class numbers in order; None if they are 0, 1, 2, …."""
    numbers = sorted(numbers)
    return None if numbers == list(range(len(numbers))) else numbers


def _one_based(columns: Mapping[str, _Column], classes: int) -> bool:
    """Whether the numbers go from 1 to the number of classes."""
    bounds = [pc.min_max(_plain_numbers(column)).as_py() for column in columns.values()]
    lowest = [bound["min"] for bound in bounds if bound["min"] is not None]
    highest = [bound["max"] for bound in bounds if bound["max"] is not None]
    return bool(lowest) and min(lowest) >= 1 and max(highest) == classes


def _plain_numbers(column: _Column) -> pa.Array:
    """The labels as float64 where they are numbers; others are null and reported elsewhere."""
    values = column.values
    if pa.types.is_string(values.type):
        values = pc.if_else(_is_number(values), values, None)
        values = pc.replace_substring_regex(values, r"^\+", "")
    return values.cast(pa.float64())


def _whole_numbers(column: _Column, allowed: range | None = None) -> pa.Array:
    value_N = column.numbers()
    broken_N = np.isfinite(value_N) & (value_N != np.floor(value_N))
    remedy = "classes are whole numbers from 0; for other numbers use kind: regression"
    column.reject(broken_N, "is not a whole number", remedy)
    remedy = "classes are whole numbers from 0; missing: skip leaves out rows whose label is -1"
    column.reject(value_N < 0, "is negative", remedy)
    unusable_N = broken_N | (value_N < 0) | (value_N >= LARGEST)
    if allowed is None:
        column.reject(value_N >= LARGEST, "is too large for a class", "number the classes from 0")
    else:
        start, end = allowed.start, allowed.stop - 1
        remedy = f"labels go from {start} to {end}; correct them, or raise task.classes"
        outside_N = (value_N > end) | ((value_N >= 0) & (value_N < start))
        column.reject(outside_N, f"is outside the head of {len(allowed)} classes", remedy)
    value_N = np.where(unusable_N, np.nan, value_N)
    return pa.array(value_N, from_pandas=True).cast(pa.int64(), safe=False)


def _largest(columns: Mapping[str, pa.Array]) -> int:
    return max((int(pc.max(label).as_py() or 0) for label in columns.values()), default=0)


def class_count_problems(
    needed: int,
    names: list[str],
    task: ClassificationTask | MultilabelTask,
    train: Examples,
    path: str,
) -> list[Problem]:
    """Problems of a number of classes; `path` is of the labels."""
    rows = len(train.table)
    if names and task.classes is not None and needed > task.classes:
        message = (
            f"{train.origin} has {needed} classes ({listed(names)}), outside the head of "
            f"{task.classes}"
        )
        return [Problem(path, message, f"correct the labels, or task.classes: {needed}")]
    if task.classes is None and needed > max(MANY_CLASSES, rows / 2):
        message = f"{train.origin} has {rows:,} examples of {needed:,} classes"
        remedy = f"name the column that holds the label, or set task.classes: {needed}"
        return [Problem(path, message, remedy)]
    return []


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _is_number(values: pa.Array) -> pa.Array:
    return pc.match_substring_regex(values, NUMBER).fill_null(False)


def _numpy(mask: pa.Array) -> np.ndarray:
    # A copy: Arrow's memory is read-only.
    return np.array(mask.to_numpy(zero_copy_only=False), dtype=bool)
