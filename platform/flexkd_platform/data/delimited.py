"""CSV and TSV: a header line, then one example a row. Both columns come as strings."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from ..spec import SpecError
from .columns import Columns, shortened
from .utf8 import not_utf8


def read_csv(file: Path, columns: Columns) -> pa.Table:
    """RFC 4180: a comma between fields; fields may stand in double quotes.

    Raises:
        SpecError: the columns are not there, or rows are broken.
    """
    quoting = 'put fields that hold a comma, a quote or a line break in "quotes"'
    return _read(file, columns, ",", '"', quoting)


def read_tsv(file: Path, columns: Columns) -> pa.Table:
    """A tab between fields; quotes are literal, as in GLUE's files and IANA's definition.

    Raises:
        SpecError: the columns are not there, or rows are broken.
    """
    no_quoting = "take tabs and line breaks out of the fields, or write CSV or JSONL"
    return _read(file, columns, "\t", None, no_quoting)


def _read(file: Path, columns: Columns, delimiter: str, quote: str | None, remedy: str) -> pa.Table:
    problems = columns.absent(_header(file, columns, delimiter, quote))
    if problems:
        raise SpecError(problems)
    ragged: list[Any] = []

    def skip(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = pacsv.read_csv(
            file,
            # Rows have numbers only when one thread reads them.
            read_options=pacsv.ReadOptions(use_threads=False),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter,
                quote_char=quote or False,
                newlines_in_values=quote is not None,
                invalid_row_handler=skip,
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=[columns.text, columns.label],
                column_types={columns.text: pa.string(), columns.label: pa.string()},
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
    return table.rename_columns(["text", "label"])


def _header(file: Path, columns: Columns, delimiter: str, quote: str | None) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for names in csv.reader(
                stream, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
            ):
                if names:
                    return names
    except UnicodeDecodeError:
        broken = not_utf8(file, columns)
        assert broken is not None, "Python has just found a byte that is no UTF-8"
        raise SpecError([broken]) from None
    except csv.Error as error:
        raise SpecError([columns.broken(f": {error}", "check its first line")]) from None
    raise SpecError([columns.broken(" is empty", "its first line must name the columns")])
