"""JSON Lines, one object per line; and JSON, one array of such objects.

Read line by line, since pyarrow's reader reports the block of an error, not its line. Only the
wanted columns are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..spec import Problem, SpecError
from .columns import Columns, example_of, holds
from .responses import RESPONSES, instances_of, shown, whole
from .utf8 import not_utf8

_CHUNK = 1 << 16
"""Rows that are held as Python objects at a time."""

_ARROW = {"text": pa.string(), "responses": RESPONSES, "json": pa.string()}


@dataclass
class _Complaints:
    """The first problem of each path and their number: a file may have a million lines."""

    columns: Columns
    first: dict[str, Problem] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, place: str, what: str) -> None:
        path = f"{self.columns.path}.{key}"
        self.count[path] = self.count.get(path, 0) + 1
        if path not in self.first:
            names = self.columns.names
            example = json.dumps({name: example_of(role) for role, name in names.items()})
            unit = place.split()[0]
            message = f"{self.columns.origin}, {place}: {what}"
            remedy = f"each {unit} must be as {example}"
            if key == "label" and what.startswith("["):
                remedy += "; kind: multilabel reads lists of classes"
            self.first[path] = Problem(path, message, remedy)

    def problems(self) -> list[Problem]:
        return [
            replace(problem, message=f"{problem.message} (and {self.count[path] - 1:,} more)")
            if self.count[path] > 1
            else problem
            for path, problem in self.first.items()
        ]


def read_jsonl(file: Path, columns: Columns) -> pa.Table:
    """One object per line. Blank lines are skipped; a missing column of a line is null.

    Raises:
        SpecError: columns are missing, or lines are broken.
    """
    complaints = _Complaints(columns)
    return _table(_lines(file, columns, complaints), columns, complaints)


def read_json(file: Path, columns: Columns) -> pa.Table:
    """One array of objects; or JSON Lines, for which some projects use this extension.

    Raises:
        SpecError: columns are missing, or entries are broken.
    """
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError([_not_utf8(file, columns)]) from None
    if not content.lstrip().startswith("["):
        return read_jsonl(file, columns)
    complaints = _Complaints(columns)
    try:
        entries = json.loads(content)
    except json.JSONDecodeError as error:
        what = f", line {error.lineno}: no JSON: {error.msg}, column {error.colno}"
        raise SpecError([columns.broken(what, "write one array of objects")]) from None
    places = ((f"entry {number}", entry) for number, entry in enumerate(entries, start=1))
    return _table(_objects(places, complaints), columns, complaints)


def _table(
    rows: Iterable[tuple[str, dict[str, Any]]], columns: Columns, complaints: _Complaints
) -> pa.Table:
    there: dict[str, None] = {}
    candidates = columns.candidates
    values: dict[str, list[Any]] = {role: [] for role in candidates}
    chunks: dict[str, list[pa.Array]] = {role: [] for role in candidates if holds(role) != "label"}

    def pack() -> None:
        for role, packed in chunks.items():
            packed.append(pa.array(values[role], _ARROW[holds(role)]))
            values[role].clear()

    for number, (place, row) in enumerate(rows, start=1):
        there.update(dict.fromkeys(row))
        for role, name in candidates.items():
            try:
                values[role].append(_value(row.get(name), role))
            except ValueError as error:
                complaints.add(role, place, str(error))
                values[role].append(None)
        if number % _CHUNK == 0:
            pack()
    problems = complaints.problems() + (columns.absent(list(there)) if there else [])
    if problems:
        raise SpecError(problems)
    pack()
    chosen = columns.chosen(list(there))
    return pa.table(
        {
            role: pa.chunked_array(chunks[role]) if role in chunks else _label_array(values[role])
            for role, name in chosen.names.items()
            if name in there or role not in chosen.optional
        }
    )


def _value(value: Any, role: str) -> Any:
    """A value as stored in its column.

    Raises:
        ValueError: the value is invalid for the column.
    """
    if holds(role) == "json":
        return None if value is None else json.dumps(value)
    if holds(role) == "responses":
        return instances_of(value, nested=role == "output")
    if holds(role) == "text" and value is not None and not isinstance(value, str):
        raise ValueError(f"{shown(value)} is not text")
    if isinstance(value, str):
        whole(value)
    if holds(role) == "label" and isinstance(value, list | dict):
        raise ValueError(f"{shown(value)} is neither number nor word")
    return value


def _lines(
    file: Path, columns: Columns, complaints: _Complaints
) -> Iterator[tuple[str, dict[str, Any]]]:
    with file.open("rb") as stream:
        for line, content in enumerate(stream, start=1):
            if not content.strip():
                continue
            try:
                row = json.loads(content.decode("utf-8-sig" if line == 1 else "utf-8"))
            except UnicodeDecodeError:
                broken = _not_utf8(file, columns)
                raise SpecError([*complaints.problems(), broken]) from None
            except json.JSONDecodeError as error:
                what = f"no JSON: {error.msg}, column {error.colno}"
                complaints.add("path", f"line {line}", what)
                continue
            yield from _objects([(f"line {line}", row)], complaints)


def _objects(
    entries: Iterable[tuple[str, Any]], complaints: _Complaints
) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, entry in entries:
        if isinstance(entry, dict):
            yield place, entry
        else:
            complaints.add("path", place, f"{shown(entry)} is not a JSON object")


def _not_utf8(file: Path, columns: Columns) -> Problem:
    broken = not_utf8(file, columns)
    assert broken is not None, "Python has just found a byte that is not UTF-8"
    return broken


def _label_array(labels: list[Any]) -> pa.Array:
    """Labels of one type keep it; mixed ones become strings, so that messages can show them."""
    kinds = {type(label) for label in labels if label is not None}
    if kinds == {int, float} or kinds == {int}:
        return pa.array([None if label is None else float(label) for label in labels])
    if len(kinds) > 1:
        labels = [x if x is None or isinstance(x, str) else json.dumps(x) for x in labels]
    return pa.array(labels)
