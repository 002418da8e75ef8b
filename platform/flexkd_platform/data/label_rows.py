"""Lists of classes as sources write them, in one form: JSON lists of words, or of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from ..spec import LabelListColumns, Problem
from .columns import listed, shortened
from .labels import LARGEST
from .reading import Examples

ROLE = "labels"
"""The column with the lists."""

Entry = str | int | bool
Lists = Sequence[Sequence[Entry] | None]
"""The entries of every row; None for a row without a list."""

_SWITCHES = {"0": False, "1": True, "false": False, "true": True}
"""What a 0/1 column holds, in lower case; numbers may have a decimal part of 0."""

_LIST = "write a list of classes, [] for none"


class _InvalidError(ValueError):
    """A row that is no list of classes; its second argument is the remedy."""


def as_lists(
    splits: Mapping[str, Examples], data: LabelListColumns, path: str
) -> tuple[dict[str, Examples], list[Problem]]:
    """The splits with one column `labels`: JSON of each row's list, null where it is missing, []
    where it is wrong; and the problems.

    A class is its name where the source has one: a 0/1 column that of the column, a number that of
    the source's `ClassLabel`. Other lists stay as they are.

    Args:
        splits: as read, with the columns of `columns.column_names`.
        data: the section that describes the lists.
        path: of that section in the spec.
    """
    problems: list[Problem] = []
    made = {}
    for name, examples in splits.items():
        lists: Lists
        if isinstance(data.labels, tuple):
            lists = _of_columns(examples, data.labels, path, problems)
        else:
            lists = _of_lists(examples, data.separator, path, problems)
        column = pa.array([None if one is None else json.dumps(one) for one in lists], pa.string())
        kept = [role for role in examples.table.column_names if not role.startswith(ROLE)]
        table = examples.table.select(kept).append_column(ROLE, column)
        made[name] = replace(examples, table=table, class_names=())
    if data.separator is not None and not any(map(_holds_text, splits.values())):
        message = f"{data.separator!r}, but no row has a text of several classes"
        problems.append(Problem(f"{path}.separator", message, "leave it out"))
    return made, problems


def _holds_text(examples: Examples) -> bool:
    """Whether a row has a text in place of a list."""
    if ROLE not in examples.table.column_names:
        return False
    return any(text.startswith('"') for text in examples.table[ROLE].to_pylist() if text)


@dataclass
class RefusedRows:
    """The rows of one column that are wrong, by message and remedy."""

    examples: Examples
    path: str
    rows: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def problems(self) -> Iterable[Problem]:
        """One problem for each message, with its first row and their number."""
        for (message, remedy), rows in self.rows.items():
            wrong_N = np.zeros(len(self.examples.table), dtype=bool)
            wrong_N[rows] = True
            yield Problem(self.path, f"{self.examples.rows(wrong_N)}: {message}", remedy)


def _converted(
    examples: Examples, role: str, path: str, convert: Callable[[Any], Any], refused: Any
) -> tuple[list[Any], Iterable[Problem]]:
    """Each value of a column; None where it is null, `refused` where it is wrong; and the problems.

    Values that are wrong for the same reason are one problem, which shows the first.
    """
    wrong = RefusedRows(examples, path)
    reasons: dict[str, tuple[str, str]] = {}
    values: list[Any] = []
    for place, text in enumerate(examples.table[role].to_pylist()):
        value = None if text is None else json.loads(text)
        missing = value is None or value != value  # NaN, as pandas writes it
        try:
            values.append(None if missing else convert(value))
        except _InvalidError as error:
            what, remedy = error.args
            shown = shortened(repr(value) if isinstance(value, str) else json.dumps(value))
            key = reasons.setdefault(what, (f"{shown} {what}", remedy))
            wrong.rows.setdefault(key, []).append(place)
            values.append(refused)
    return values, wrong.problems()


def _of_columns(
    examples: Examples, names: tuple[str, ...], path: str, problems: list[Problem]
) -> list[list[str] | None]:
    """The lists of 0/1 columns; a row lacks its list if any of them is empty."""
    switches = []
    for place in range(len(names)):
        role = f"{ROLE}[{place}]"
        values, found = _converted(examples, role, f"{path}.{role}", _switch, False)
        problems += found
        switches.append(values)
    return [
        None if None in row else [name for name, on in zip(names, row, strict=True) if on]
        for row in zip(*switches, strict=True)
    ]


def _switch(value: Any) -> bool | None:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        text = value.strip().lower().removesuffix(".0")
        if text in _SWITCHES or not text:
            return _SWITCHES.get(text)
    raise _InvalidError("is neither 0 nor 1", "write 1 in a row that has the class, else 0")


def _of_lists(
    examples: Examples, separator: str | None, path: str, problems: list[Problem]
) -> list[list[Entry] | None]:
    def convert(value: Any) -> list[Entry]:
        if isinstance(value, str):
            return _named(_split(value, separator), examples.class_names)
        if not isinstance(value, list):
            raise _InvalidError("is no list", f"{_LIST}; or use kind: classification")
        return _named([_entry(one) for one in value], examples.class_names)

    values, found = _converted(examples, ROLE, f"{path}.{ROLE}", convert, [])
    problems += found
    return values


def _split(text: str, separator: str | None) -> list[Entry]:
    if separator is None:
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if isinstance(value, list):
            return [_entry(one) for one in value]
        remedy = (
            'set separator, as "|", or labels: [one class, another] for 0/1 columns; for one class '
            "per row use kind: classification"
        )
        raise _InvalidError("is text, not a list", remedy)
    if not text.strip():
        return []
    names = [name.strip() for name in text.split(separator)]
    if "" in names:
        raise _InvalidError(f"has nothing beside a {separator!r}", "remove it, or name the class")
    return list(names)


def _entry(value: Any) -> Entry:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, bool):
        return value
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if whole and 0 <= value < LARGEST:
        return int(value)
    raise _InvalidError(
        "has an entry that is no class", "classes are words, or whole numbers from 0"
    )


def _named(entries: list[Entry], names: tuple[str, ...]) -> list[Entry]:
    """Names in place of the numbers that the source has names for."""
    if not names or any(isinstance(entry, str) for entry in entries):
        return entries
    if any(int(entry) >= len(names) for entry in entries):
        raise _InvalidError(f"has a number that is none of {listed(list(names))}", "correct it")
    return [names[int(entry)] for entry in entries]
