"""CSV and TSV: a header line, then one example per row. All columns are read as strings.

Columns of a file without a header are named by their numbers, from 1. Python's strict `csv` reads
every file: it refuses unbalanced quotes, which pyarrow reads as one field of many rows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..spec import Problem, SpecError, counted
from .columns import Columns, holds, shortened
from .content import FileContent
from .dialect import ESCAPE, MOST_CHARACTERS, Dialect, Given, long_fields, named, written
from .quoted_rows import QuotedRows
from .responses import responses_array
from .split_line_ends import misread_before
from .utf8 import not_utf8

_CHUNK = 1 << 13
"""Rows that are held as Python objects at a time."""

_QUOTING = 'put fields that hold a delimiter, a quote or a line break in "quotes"'
_NO_QUOTING = "take tabs and line breaks out of the fields, or write CSV or JSONL"


def read_delimited(file: Path, columns: Columns, given: Given) -> FileContent:
    """The wanted columns of a CSV or TSV file, in the dialect that the spec gives or that fits.

    Raises:
        SpecError: columns are missing, or rows are broken.
    """
    suffix = file.suffix.lower()
    layout, notes = _layout(file, columns, given)
    try:
        table = _read(file, columns, layout)
    except _BrokenQuotesError as broken:
        layout = replace(layout, dialect=replace(layout.dialect, escape=ESCAPE))
        if given.escape is not None or not layout.dialect.quote or not _escapes(file, layout):
            raise broken.error from None
        try:
            table = _read(file, columns, layout)
        except SpecError:
            raise broken.error from None
        message = f"{columns.origin} escapes quotes with a backslash"
        remedy = f"state it, as escape: {written(ESCAPE)}; none reads backslashes literally"
        notes.append(Problem(f"{columns.path}.escape", message, remedy))
    manner = layout.dialect.unusual(suffix)
    if layout.width and misread_before(file, layout.dialect, set(layout.places.values())):
        manner["line_ends"] = "whole"
    return FileContent(table, manner, notes=tuple(notes))


class _BrokenQuotesError(SpecError):
    """Quotes that do not balance; another dialect may explain them."""

    @property
    def error(self) -> SpecError:
        return SpecError(self.problems, self.source)


@dataclass(frozen=True)
class _Layout:
    """Where the wanted columns are.

    places: role of a column → its place, from 0.
    width: number of fields of every row; 0 for a file without a header, whose rows may have
        further fields, as in the STS benchmark.
    assured: whether the spec sets the quote, so that no row is suspected to be several.
    """

    dialect: Dialect
    places: dict[str, int]
    width: int
    assured: bool


def _layout(file: Path, columns: Columns, given: Given) -> tuple[_Layout, list[Problem]]:
    usual, *others = given.dialects(file.suffix.lower())
    dialect, first = usual, _first_row(file, columns, usual)
    if not _fits(columns, first):
        for other in others:
            found = _first_row(file, columns, other)
            # Without a match the one with most fields names the columns.
            if _fits(columns, found) or (len(found) > len(first) and not _fits(columns, first)):
                dialect, first = other, found
    if not _fits(columns, first):
        if not first:
            next(_numbered(file, columns, _Layout(dialect, {}, 0, False)))
        _refuse_first_line(file, columns, dialect, first)
    notes = []
    if dialect != usual:
        message = f"{columns.origin} has {named(dialect.delimiter)} between its fields"
        remedy = f"state it, as delimiter: {written(dialect.delimiter)}"
        notes.append(Problem(f"{columns.path}.delimiter", message, remedy))
    numbers = _numbers(columns, first)
    problems = columns.absent([columns.names[role] for role in numbers] or first)
    if problems:
        raise SpecError(problems)
    there = columns.present(first)
    places = numbers or {role: first.index(name) for role, name in there.items()}
    width = 0 if numbers else len(first)
    return _Layout(dialect, places, width, given.quote is not None), notes


def _fits(columns: Columns, first: list[str]) -> bool:
    """Whether all wanted columns are there, by name or by number."""
    numbers = _numbers(columns, first)
    if numbers:
        return max(numbers.values()) < len(first)
    chosen = columns.chosen(first)
    return all(name in first for role, name in chosen.names.items() if role not in chosen.optional)


def _refuse_first_line(file: Path, columns: Columns, dialect: Dialect, first: list[str]) -> None:
    """Reject a first line of another format.

    Raises:
        SpecError: it has tabs, or is Excel's line with the delimiter.
    """
    if dialect.delimiter != "\t" and len(first) == 1 and "\t" in first[0]:
        what = " has tabs between its fields, not commas"
        remedy = f'name it {file.stem}.tsv; or, if fields are quoted, set delimiter: "\\t"'
        raise SpecError([columns.broken(what, remedy)])
    if first[0].startswith("sep=") and len(first[0]) <= len("sep=;"):
        what = f" starts with {first[0]!r}, which only Excel reads"
        raise SpecError([columns.broken(what, "remove this line")])


def _numbers(columns: Columns, first: list[str]) -> dict[str, int]:
    """Role and place of every column, if all of them are named by numbers.

    Empty if the first row contains all names, which makes it a header.
    """
    wanted = {
        role: name
        for role, name in columns.names.items()
        if role not in columns.optional or name in first
    }
    if all(name in first for name in wanted.values()):
        return {}
    numbered = all(name.isdecimal() and int(name) > 0 for name in wanted.values())
    return {role: int(name) - 1 for role, name in wanted.items()} if numbered else {}


def _read(file: Path, columns: Columns, layout: _Layout) -> pa.Table:
    """The columns by role.

    Raises:
        SpecError: rows are broken.
    """
    packed: dict[str, list[pa.Array]] = {role: [] for role in layout.places}
    quoted = QuotedRows(layout.dialect, layout.width, layout.places.get("label"))
    ragged, done = 0, 0
    with _opened(file, columns, layout.dialect) as reader:
        if layout.width:
            next(row for row in reader if row)
        before = reader.line_num
        while rows := list(islice(reader, _CHUNK)):
            several, before = reader.line_num - before != len(rows), reader.line_num
            if not all(rows):
                rows = [row for row in rows if row]  # without blank lines
            ragged += _ragged(rows, layout)
            if not ragged:
                _pack(rows, layout, packed)
                quoted.look(rows, done + 1, breaks=several)
            done += len(rows)
    if ragged:
        raise SpecError([_first_ragged(file, columns, layout, ragged)])
    if not layout.assured and (found := quoted.suspect()) is not None:
        raise SpecError([_several_rows(file, columns, layout, *found)])
    return pa.table(
        {
            role: pa.chunked_array(chunks, None if chunks else _pack_column([], role).type)
            for role, chunks in packed.items()
        }
    )


def _ragged(rows: list[list[str]], layout: _Layout) -> int:
    """The number of rows with a wrong number of fields."""
    widths = list(map(len, rows))
    if layout.width:
        return len(widths) - widths.count(layout.width)
    needed = max(layout.places.values()) + 1
    return sum(width < needed for width in widths)


def _pack(rows: list[list[str]], layout: _Layout, packed: dict[str, list[pa.Array]]) -> None:
    for role, place in layout.places.items():
        packed[role].append(_pack_column([row[place] for row in rows], role))


def _pack_column(values: list[str], role: str) -> pa.Array:
    if holds(role) == "responses":
        return responses_array(values, nested=False)
    if holds(role) == "json":
        return pa.array(map(json.dumps, values), pa.string())
    return pa.array(values, pa.string())


def _first_ragged(file: Path, columns: Columns, layout: _Layout, ragged: int) -> Problem:
    more = f" (and {ragged - 1:,} more)" if ragged > 1 else ""
    number, line, row = next(
        found for found in _numbered(file, columns, layout) if _ragged([found[2]], layout)
    )
    where, shown = f", row {number} on line {line}{more}", shortened(_joined(row, layout))
    if layout.width:
        what = f": {counted(len(row), 'field')} where the header has {layout.width}: {shown}"
        return columns.broken(where + what, _QUOTING if layout.dialect.quote else _NO_QUOTING)
    needed = max(layout.places.values()) + 1
    what = f": {counted(len(row), 'field')}, and column {needed} is wanted: {shown}"
    return columns.broken(where + what, "name columns that every row has; they are counted from 1")


def _several_rows(
    file: Path, columns: Columns, layout: _Layout, wanted: int, lines: int
) -> Problem:
    number, line, row = next(
        found for found in _numbered(file, columns, layout) if found[0] == wanted
    )
    what = (
        f", row {number} on lines {line} to {line + lines - 1}: one quoted field holds what look "
        f"like {lines} rows: {shortened(_joined(row, layout))}"
    )
    remedy = "remove or double the stray quotes; if the text is meant so, set quote: '\"'"
    return columns.broken(what, remedy)


def _joined(row: list[str], layout: _Layout) -> str:
    return layout.dialect.delimiter.join(row)


def _numbered(
    file: Path, columns: Columns, layout: _Layout
) -> Iterator[tuple[int, int, list[str]]]:
    """Rows with their numbers, without the header, and their first lines; both from 1."""
    number = 0 if layout.width else 1
    with _opened(file, columns, layout.dialect) as reader:
        line = 1
        for row in reader:
            if row:
                if number:
                    yield number, line, row
                number += 1
            line = reader.line_num + 1


def _first_row(file: Path, columns: Columns, dialect: Dialect) -> list[str]:
    """The first row; empty if its quotes are broken, as they are with another delimiter.

    Raises:
        SpecError: the file is empty.
    """
    try:
        with _opened(file, columns, dialect) as reader:
            for row in reader:
                if row:
                    first: list[str] = row
                    return first
    except _BrokenQuotesError:
        return []
    raise SpecError([columns.broken(" is empty", "its first line must name the columns")])


def _escapes(file: Path, layout: _Layout) -> bool:
    """Whether the file has an escaped quote."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        return any(f"{ESCAPE}{layout.dialect.quote}" in line for line in stream)


@contextmanager
def _opened(file: Path, columns: Columns, dialect: Dialect) -> Iterator[Any]:
    """A reader of the file's rows.

    Raises:
        SpecError: the file is not UTF-8 or its quotes are broken, in the block too.
    """
    try:
        with long_fields(), file.open(encoding="utf-8-sig", newline="") as stream:
            yield dialect.reader(stream)
    except UnicodeDecodeError:
        broken = not_utf8(file, columns)
        assert broken is not None, "Python has just found a byte that is not UTF-8"
        raise SpecError([broken]) from None
    except csv.Error as error:
        raise _BrokenQuotesError([_broken_row(file, columns, dialect, str(error))]) from None


def _broken_row(file: Path, columns: Columns, dialect: Dialect, error: str) -> Problem:
    """The problem of the first row that `csv` refuses."""
    start = last = 1
    with long_fields(), file.open(encoding="utf-8-sig", newline="") as stream:
        reader = dialect.reader(stream)
        try:
            for _ in reader:
                start = reader.line_num + 1
        except csv.Error:
            last = reader.line_num
    with file.open(encoding="utf-8-sig", newline="") as stream:
        opening = next(islice(stream, start - 1, start), "")
    where = f", line {start}" if last <= start else f", lines {start} to {last}"
    quote = dialect.quote or '"'
    literal = "or set quote: none if quotes are literal"
    if "limit" in error:
        what = f": a field has more than {MOST_CHARACTERS:,} characters"
        remedy = f"close its quote, {literal}" if dialect.quote else "shorten it"
    elif "end of data" in error:
        what, remedy = ": a quoted field is never closed", f"close its quote, {literal}"
    elif "expected after" in error:
        what = ": a quote inside a quoted field is not doubled"
        remedy = f"write {quote * 2} for it, or close the quote that opens the field; {literal}"
    else:
        what, remedy = f": {error}", "correct the row"
    return columns.broken(f"{where}{what}: {shortened(opening)}", remedy)
