"""JSON Lines: one object a line.

Read line by line, since pyarrow's reader names the block an error is in, and not the line. Only
the two columns are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..spec import Problem, SpecError
from .columns import Columns, shortened
from .utf8 import not_utf8

_CHUNK = 1 << 16
"""Texts that are Python objects at a time."""


@dataclass
class _Complaints:
    """The first problem of each path and how many there were: a file may have a million lines."""

    columns: Columns
    first: dict[str, Problem] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def add(self, key: str, line: int, what: str) -> None:
        path = f"{self.columns.path}.{key}"
        self.count[path] = self.count.get(path, 0) + 1
        if path not in self.first:
            example = f'{{"{self.columns.text}": "some text", "{self.columns.label}": 0}}'
            message = f"{self.columns.origin}, line {line}: {what}"
            self.first[path] = Problem(path, message, f"each line must be as {example}")

    def problems(self) -> list[Problem]:
        return [
            replace(problem, message=f"{problem.message} (and {self.count[path] - 1:,} more)")
            if self.count[path] > 1
            else problem
            for path, problem in self.first.items()
        ]


def read_jsonl(file: Path, columns: Columns) -> pa.Table:
    """Blank lines are passed over; a line that lacks a column has null there.

    Raises:
        SpecError: the columns are not there, or lines are broken.
    """
    complaints = _Complaints(columns)
    there: dict[str, None] = {}
    texts: list[str | None] = []
    chunks: list[pa.Array] = []
    labels: list[Any] = []
    for line, row in _rows(file, columns, complaints):
        there.update(dict.fromkeys(row))
        text, label = row.get(columns.text), row.get(columns.label)
        if text is not None and not isinstance(text, str):
            complaints.add("text", line, f"{_shown(text)} is no text")
            text = None
        if isinstance(label, list | dict):
            complaints.add("label", line, f"{_shown(label)} is neither number nor word")
            label = None
        texts.append(text)
        labels.append(label)
        if len(texts) == _CHUNK:
            chunks.append(pa.array(texts, pa.string()))
            texts.clear()
    problems = complaints.problems() + (columns.absent(list(there)) if there else [])
    if problems:
        raise SpecError(problems)
    chunks.append(pa.array(texts, pa.string()))
    return pa.table({"text": pa.chunked_array(chunks), "label": _label_array(labels)})


def _rows(
    file: Path, columns: Columns, complaints: _Complaints
) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as stream:
        for line, content in enumerate(stream, start=1):
            if not content.strip():
                continue
            try:
                row = json.loads(content.decode("utf-8-sig" if line == 1 else "utf-8"))
            except UnicodeDecodeError:
                broken = not_utf8(file, columns)
                assert broken is not None, "Python has just found a byte that is no UTF-8"
                raise SpecError([*complaints.problems(), broken]) from None
            except json.JSONDecodeError as error:
                complaints.add("path", line, f"no JSON: {error.msg}, column {error.colno}")
                continue
            if isinstance(row, dict):
                yield line, row
            else:
                complaints.add("path", line, f"{_shown(row)} is no JSON object")


def _label_array(labels: list[Any]) -> pa.Array:
    """Labels of one kind keep it; mixed ones become strings, so that the odd ones can be named."""
    kinds = {type(label) for label in labels if label is not None}
    if kinds == {int, float} or kinds == {int}:
        return pa.array([None if label is None else float(label) for label in labels])
    if len(kinds) > 1:
        labels = [x if x is None or isinstance(x, str) else json.dumps(x) for x in labels]
    return pa.array(labels)


def _shown(value: Any) -> str:
    return shortened(json.dumps(value, ensure_ascii=False))
