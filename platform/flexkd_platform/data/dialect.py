"""How the fields of a CSV or TSV file are separated, quoted and escaped: given, or found."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ..spec import FilesSource

NONE = "none"
"""The value of `quote` and `escape` in a spec for a file that has neither."""

DELIMITERS = (",", ";", "|")
"""Tried in this order in a CSV file. A tab is not: in TSV files quotes are literal, in CSV not."""

ESCAPE = "\\"
"""The escape character that is tried when doubled quotes do not explain a file."""

MOST_CHARACTERS = 1 << 24
"""Of one field. An opening quote that is never closed makes a field of the rest of the file."""

_NAMES = {"\t": "a tab", " ": "a blank"}


@dataclass(frozen=True)
class Dialect:
    """The format of a delimited file.

    delimiter: between two fields.
    quote: around fields that hold a delimiter, a quote or a line break; None: quotes are literal.
        Inside quotes a doubled quote is a quote.
    escape: makes the delimiter, quote, line break or escape after it literal; None: it is literal.
    """

    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None

    def reader(self, lines: Iterable[str]) -> Any:
        """A strict `csv.reader` of the lines: every quote opens or closes a field, or is doubled.

        A quote inside an unquoted field is literal, as in `5" disk`.
        """
        return csv.reader(
            self._kept(lines) if self.escape else lines,
            delimiter=self.delimiter,
            quotechar=self.quote or '"',
            quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            escapechar=self.escape,
            strict=True,
        )

    def _kept(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines with every escape doubled that escapes nothing: `csv` would remove it."""
        assert self.escape is not None, "the caller has one"
        special = {self.delimiter, self.quote, self.escape, "\r", "\n"}
        pair = re.compile(re.escape(self.escape) + "(.)", re.DOTALL)

        def double(found: re.Match[str]) -> str:
            return found[0] if found[1] in special else f"{self.escape}{found[0]}"

        return (pair.sub(double, line) if self.escape in line else line for line in lines)

    def unusual(self, suffix: str) -> dict[str, Any]:
        """Its part of a fingerprint; empty for the usual dialect of the file's extension."""
        return {} if self == USUAL[suffix] else {"dialect": asdict(self)}


USUAL = {".csv": Dialect(), ".tsv": Dialect("\t", None)}
"""RFC 4180 for CSV. In TSV files quotes are literal, as in GLUE's files and IANA's definition."""


@dataclass(frozen=True)
class Given:
    """The dialect that a spec sets; None for what it leaves to be found.

    quote, escape: `none` for a file without.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None

    @classmethod
    def of(cls, data: FilesSource) -> Given:
        """The settings of a data section."""
        return cls(data.delimiter, data.quote, data.escape)

    def dialects(self, suffix: str) -> list[Dialect]:
        """The dialects that a file may have, the most likely first; they differ in delimiters."""
        usual = USUAL[suffix]
        quote = None if self.quote == NONE else self.quote or usual.quote
        escape = None if self.escape == NONE else self.escape
        tried = [usual.delimiter] if suffix == ".tsv" else DELIMITERS
        return [
            Dialect(delimiter, quote, escape)
            for delimiter in ([self.delimiter] if self.delimiter else tried)
        ]


@contextmanager
def long_fields() -> Iterator[None]:
    """Fields of up to `MOST_CHARACTERS` are read; the limit of `csv` is one of the process."""
    limit = csv.field_size_limit(MOST_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def named(delimiter: str) -> str:
    """A delimiter for a sentence."""
    return _NAMES.get(delimiter, repr(delimiter))


def written(character: str) -> str:
    """A character as a double-quoted string of YAML."""
    return {"\t": '"\\t"', "\\": '"\\\\"', '"': "'\"'"}.get(character, f'"{character}"')
