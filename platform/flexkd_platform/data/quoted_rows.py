"""Find a quoted field that holds several rows, because of two stray quotes."""

from __future__ import annotations

import csv
import re

from .dialect import Dialect

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

_MOST_LABELS = 10_000
_MOST_CANDIDATES = 1_000


class QuotedRows:
    """Looks at fields with line breaks.

    Two stray quotes, one at the start of a field and one at the end of a later field, quote all
    rows between them, and the file is valid. Such a field is suspected if each of its lines is a
    row by itself, with as many fields as the header and a label that a row of the file has.

    dialect: of the file.
    width: fields of a row.
    label: place of the label; without one nothing is suspected.
    """

    def __init__(self, dialect: Dialect, width: int, label: int | None) -> None:
        self._dialect, self._width, self._label = dialect, width, label
        self._labels: set[str] = set()
        self._candidates: list[tuple[int, list[list[str]]]] = []

    def look(self, rows: list[list[str]], first: int, *, breaks: bool) -> None:
        """Keep the labels, and rows that may be several.

        Args:
            rows: with the right number of fields.
            first: number of the first one.
            breaks: whether there may be line breaks in their fields.
        """
        if self._label is None or not self._width or not self._dialect.quote:
            return
        if len(self._labels) < _MOST_LABELS:
            self._labels.update([row[self._label] for row in rows])
        if not breaks:
            return
        for number, row in enumerate(rows, start=first):
            several = any("\n" in value or "\r" in value for value in row)
            if several and len(self._candidates) < _MOST_CANDIDATES and (inner := self._inner(row)):
                self._candidates.append((number, inner))

    def suspect(self) -> tuple[int, int] | None:
        """Number of the first row that holds several, and of how many."""
        numeric = bool(self._labels) and all(map(_NUMBER.fullmatch, self._labels))
        for number, inner in self._candidates:
            found = [row[self._label or 0] for row in inner]
            if all(y in self._labels or (numeric and _NUMBER.fullmatch(y)) for y in found):
                return number, len(inner)
        return None

    def _inner(self, row: list[str]) -> list[list[str]]:
        """The lines of a row as rows; empty if one of them has another number of fields."""
        lines = self._dialect.delimiter.join(row).splitlines()
        found: list[list[str]] = []
        for line in lines:
            try:
                fields: list[str] = next(self._dialect.reader([line]), [])
            except csv.Error:
                return []
            if len(fields) != self._width:
                return []
            found.append(fields)
        return found
