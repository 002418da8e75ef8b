"""Any number of classes per row: the classes of a data set, and the indices of each row's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import pyarrow as pa

from ..spec import MultilabelTask, Problem
from .columns import listed, shortened
from .label_rows import ROLE, Lists, RefusedRows
from .labels import UNSEEN, Labels, class_count_problems, name_classes, unless_counted
from .reading import Examples

Indices = list[list[int] | None]
"""The indices of every row's classes, ascending; None for a row that is refused."""


def list_labels(
    splits: Mapping[str, Examples],
    task: MultilabelTask,
    path: str,
    known: Labels | None = None,
    problems: Sequence[Problem] = (),
) -> Labels:
    """The classes of every row, as ascending indices; `columns` are lists of int64.

    Lists are of words, of whole numbers, or of one 0 or 1 per class: all of the train split have
    the same length, 2 at least, and no other entries. The classes are those of the train split in
    sorted order, or in the order of 0/1 columns; in an evaluation set, those of the training data.

    Args:
        splits: as `label_rows.as_lists` returns them.
        task: the task.
        path: of `task.data` in the spec.
        known: the training data's labels, if the splits are those of an evaluation set.
        problems: of the lists, as `as_lists` returns them; with any, the classes are not known.
    """
    result = Labels(problems=[*problems])
    where = f"{path}.{ROLE}"
    lists = {name: _parsed(examples, where, result) for name, examples in splits.items()}
    if result.problems or (known is None and "train" not in lists):
        return result
    if known is not None:
        result.classes, result.words, result.numbers = known.classes, known.words, known.numbers
        result.vectors = known.vectors
    else:
        _find_classes(lists, task, result)
    for name, rows in lists.items():
        found = _placed(rows, splits[name], where, result)
        result.columns[name] = pa.array(found, pa.list_(pa.int64()))
    if known is not None or result.problems:
        return result
    needed = result.classes or 0
    labels = list(result.labels) or [str(number) for number in range(needed)]
    result.problems += class_count_problems(needed, labels, task, splits["train"], where)
    if needed < 2 and not task.classes:
        count = f"one class: {labels[0]}" if labels else "no class"
        message = f"{splits['train'].origin} has {count}"
        remedy = "a multi-label task has two classes at least; for one, use kind: classification"
        result.problems.append(Problem(where, message, remedy))
    result.classes = task.classes or needed
    name_classes(result, task, splits["train"], where)
    return result


def _parsed(examples: Examples, path: str, result: Labels) -> Lists:
    lists = [None if x is None else json.loads(x) for x in examples.table[ROLE].to_pylist()]
    missing_N = np.array([one is None for one in lists], dtype=bool)
    if missing_N.any():
        message = f"{examples.rows(missing_N)} has no list of classes"
        remedy = "write [], or 0 in every column, for no class; missing: skip leaves such rows out"
        result.problems.append(Problem(path, message, remedy))
    mixed_N = np.array([len({isinstance(x, str) for x in one or ()}) > 1 for one in lists])
    if mixed_N.any():
        message = f"{examples.rows(mixed_N)} has words and numbers in one list"
        result.problems.append(Problem(path, message, "write words, or numbers"))
    return lists


def _find_classes(lists: Mapping[str, Lists], task: MultilabelTask, result: Labels) -> None:
    """Set what the classes are: words, numbers, or the places in vectors of 0 and 1."""
    train = lists["train"]
    entries = {entry for row in train for entry in row or ()}
    if isinstance(columns := getattr(task.data, "labels", None), tuple):
        result.words = list(columns)
    elif any(isinstance(entry, str) for entry in entries):
        words = _sorted({str(entry) for entry in entries})
        others = {str(entry) for rows in lists.values() for row in rows for entry in row or ()}
        more = _sorted(others - set(words))
        fits = task.classes is not None and len(words) + len(more) <= task.classes
        result.words = [*words, *more] if fits else words
    elif _are_vectors(train):
        result.vectors = True
        result.classes = len(train[0] or ())
        return
    elif task.classes is None:
        result.numbers = unless_counted([int(entry) for entry in entries])
        result.classes = len(entries)
        return
    else:
        result.classes = task.classes
        return
    result.classes = len(result.words)


def _sorted(words: Set[str]) -> list[str]:
    """In order of the alphabet, or of the numbers that all of them are."""
    if all(word.isdecimal() for word in words):
        return sorted(words, key=int)
    return sorted(words)


def _are_vectors(rows: Lists) -> bool:
    """Whether every list has one 0 or 1 per class.

    As numbers of classes, such lists would all name class 0 or 1 twice, or both of them.
    """
    lengths = {len(row) for row in rows if row is not None}
    return (
        len(lengths) == 1 and min(lengths) > 1 and all(x in (0, 1) for r in rows for x in r or ())
    )


def _placed(rows: Lists, examples: Examples, path: str, result: Labels) -> Indices:
    """The indices of each row's classes; rows with others are null, and problems."""
    if result.vectors:
        return _places_of_vectors(rows, examples, path, result)
    held: list[Any] = [*(result.words or result.numbers or range(result.classes or 0))]
    place = {entry: index for index, entry in enumerate(held)}
    found: Indices = []
    wrong = RefusedRows(examples, path)
    for number, row in enumerate(rows):
        unknown = [entry for entry in row or () if entry not in place or isinstance(entry, bool)]
        if unknown:
            shown = listed([str(entry) for entry in held])
            message = f"{unknown[0]!r} is not among the classes of the train split: {shown}"
            first = next(iter(wrong.rows), (message, UNSEEN))
            wrong.rows.setdefault(first, []).append(number)
            found.append(None)
        else:
            found.append(None if row is None else sorted({place[entry] for entry in row}))
    result.problems += wrong.problems()
    return found


def _places_of_vectors(rows: Lists, examples: Examples, path: str, result: Labels) -> Indices:
    wrong_N = np.array(
        [
            row is not None and (len(row) != result.classes or any(x not in (0, 1) for x in row))
            for row in rows
        ],
        dtype=bool,
    )
    if wrong_N.any():
        first = shortened(json.dumps(rows[int(np.argmax(wrong_N))]))
        message = f"{examples.rows(wrong_N)}: {first} is not one 0 or 1 for each class"
        remedy = f"write {result.classes} of them, as in the train split"
        result.problems.append(Problem(path, message, remedy))
    return [
        None if row is None else [index for index, on in enumerate(row) if on in (1, True)]
        for row in rows
    ]
