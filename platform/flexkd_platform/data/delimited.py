"""CSV and TSV: a header line, then one example per row. All columns are read as strings.

Columns of a file without a header are named by their numbers, from 1.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from ..spec import SpecError
from .columns import HOLDS, Columns, shortened
from .responses import responses_array
from .roles import by_role
from .utf8 import not_utf8


def read_csv(file: Path, columns: Columns) -> pa.Table:
    """RFC 4180: a comma between fields; fields may be in double quotes.

    Raises:
        SpecError: columns are missing, or rows are broken.
    """
    quoting = 'put fields that hold a comma, a quote or a line break in "quotes"'
    return _read(file, columns, ",", '"', quoting)


def read_tsv(file: Path, columns: Columns) -> pa.Table:
    """A tab between fields; quotes are literal, as in GLUE's files and IANA's definition.

    Raises:
        SpecError: columns are missing, or rows are broken.
    """
    no_quoting = "take tabs and line breaks out of the fields, or write CSV or JSONL"
    return _read(file, columns, "\t", None, no_quoting)


def _read(file: Path, columns: Columns, delimiter: str, quote: str | None, remedy: str) -> pa.Table:
    first = _first_row(file, columns, delimiter, quote)
    if delimiter == "," and len(first) == 1 and "\t" in first[0]:
        what = " has tabs between its fields, not commas"
        raise SpecError([columns.broken(what, f"name it {file.stem}.tsv")])
    places = _places(columns, first)
    if places:
        return _read_without_header(file, columns, places, delimiter, quote)
    problems = columns.absent(first)
    if problems:
        raise SpecError(problems)
    return by_role(_read_with_header(file, columns, first, delimiter, quote, remedy), columns)


def _read_with_header(
    file: Path, columns: Columns, header: list[str], delimiter: str, quote: str | None, remedy: str
) -> pa.Table:
    names = list(columns.present(header).values())
    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            file,
            # Row numbers are available only with a single thread.
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter,
                quote_char=quote or False,
                newlines_in_values=quote is not None,
                invalid_row_handler=skip,
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=names,
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        broken = not_utf8(file, columns) or columns.broken(f": {shortened(str(error))}", remedy)
        raise SpecError([broken]) from None
    if ragged:
        row = ragged[0]
        more = f" (and {len(ragged) - 1:,} more)" if len(ragged) > 1 else ""
        # pyarrow counts the header as row 1.
        what = (
            f", row {row.number - 1}{more}: {row.actual_columns} fields where the header has "
            f"{row.expected_columns}: {shortened(row.text)}"
        )
        raise SpecError([columns.broken(what, remedy)])
    return table


def _places(columns: Columns, first: list[str]) -> dict[str, int]:
    """Role and number of every column, if all of them are named by numbers.

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
    return {role: int(name) for role, name in wanted.items()} if numbered else {}


def _read_without_header(
    file: Path, columns: Columns, places: dict[str, int], delimiter: str, quote: str | None
) -> pa.Table:
    """Read columns by number. Rows may have further fields, as in the STS benchmark."""
    problems = columns.absent([columns.names[role] for role in places])
    if problems:
        raise SpecError(problems)
    values: dict[str, list[str]] = {role: [] for role in places}
    needed = max(places.values())
    for number, row in enumerate(_rows(file, columns, delimiter, quote), start=1):
        if len(row) < needed:
            what = f", row {number}: {len(row)} fields, and column {needed} is wanted: "
            remedy = "name columns that every row has; they are counted from 1"
            raise SpecError([columns.broken(what + shortened(delimiter.join(row)), remedy)])
        for role, place in places.items():
            values[role].append(row[place - 1])
    return pa.table(
        {
            role: responses_array(found, nested=False)
            if HOLDS[role] == "responses"
            else pa.array(found, pa.string())
            for role, found in values.items()
        }
    )


def _first_row(file: Path, columns: Columns, delimiter: str, quote: str | None) -> list[str]:
    for row in _rows(file, columns, delimiter, quote):
        return row
    raise SpecError([columns.broken(" is empty", "its first line must name the columns")])


def _rows(file: Path, columns: Columns, delimiter: str, quote: str | None) -> Iterator[list[str]]:
    """The rows of a file, without blank lines."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(
                stream, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
            )
            yield from (row for row in rows if row)
    except UnicodeDecodeError:
        broken = not_utf8(file, columns)
        assert broken is not None, "Python has just found a byte that is not UTF-8"
        raise SpecError([broken]) from None
    except csv.Error as error:
        raise SpecError([columns.broken(f": {error}", "check its first line")]) from None
