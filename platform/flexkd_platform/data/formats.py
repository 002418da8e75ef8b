"""The supported file formats. To add one, add a function and lines in `_OBJECTS` and `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..spec import FilesSource, Problem, SpecError
from .class_names import stored_names
from .columns import Columns, label_column, shortened
from .content import FileContent
from .delimited import read_delimited
from .dialect import NONE, Given
from .jsonl import read_json, read_jsonl
from .roles import by_role


def read_parquet(file: Path, columns: Columns) -> FileContent:
    """Read columns of any type; the preparation of examples rejects invalid texts and labels.

    Raises:
        SpecError: columns are missing, or the file is broken.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            there = parquet.schema_arrow.names
            problems = columns.absent(there)
            if problems:
                raise SpecError(problems)
            table = parquet.read(columns=list(columns.present(there).values()))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        what = f" is not a readable Parquet file: {shortened(str(error))}"
        raise SpecError([columns.broken(what, "write it again")]) from None
    return _content(table, columns)


def read_arrow(file: Path, columns: Columns) -> FileContent:
    """Read columns of any type from an Arrow file or stream, as `datasets` writes them.

    Raises:
        SpecError: columns are missing, or the file is broken.
    """
    with file.open("rb") as stream:
        magic = stream.read(len(_ARROW_FILE))
    try:
        with pa.memory_map(str(file)) as mapped:
            if magic == _ARROW_FILE:
                table = pa.ipc.open_file(mapped).read_all()
            else:
                table = pa.ipc.open_stream(mapped).read_all()
    except (pa.ArrowException, OSError) as error:
        what = f" is not a readable Arrow file: {shortened(str(error))}"
        raise SpecError([columns.broken(what, "write it again")]) from None
    problems = columns.absent(table.column_names)
    if problems:
        raise SpecError(problems)
    return _content(table, columns)


def _content(table: pa.Table, columns: Columns) -> FileContent:
    label = label_column(columns.names)
    return FileContent(by_role(table, columns), class_names=stored_names(table.schema, label))


_ARROW_FILE = b"ARROW1"

_TYPED: dict[str, Callable[[Path, Columns], FileContent]] = {
    ".parquet": read_parquet,
    ".arrow": read_arrow,
}
_OBJECTS: dict[str, Callable[[Path, Columns], pa.Table]] = {
    ".jsonl": read_jsonl,
    ".json": read_json,
}

DELIMITED = (".csv", ".tsv")

FORMATS = (".parquet", ".jsonl", ".json", *DELIMITED, ".arrow")
"""File extensions."""


def read_file(file: Path, columns: Columns, given: Given) -> FileContent:
    """Read a file of one of the `FORMATS`.

    Raises:
        SpecError: columns are missing, or the file is broken; names the file and the location.
    """
    suffix = file.suffix.lower()
    if suffix in DELIMITED:
        return read_delimited(file, columns, given)
    if suffix in _TYPED:
        return _TYPED[suffix](file, columns)
    return FileContent(_OBJECTS[suffix](file, columns))


def dialect_problems(data: FilesSource, files: list[Path], path: str) -> list[Problem]:
    """Problems of `delimiter`, `quote` and `escape`, whose section is at `path`."""
    given = {
        name: value
        for name in ("delimiter", "quote", "escape")
        if (value := getattr(data, name)) is not None
    }
    if files and not any(file.suffix.lower() in DELIMITED for file in files):
        message = f"{data.path} has no {' or '.join(DELIMITED)} file, so this has no effect"
        return [Problem(f"{path}.{name}", message, "leave it out") for name in given]
    problems = []
    for name, value in given.items():
        first = next(other for other in given if given[other] == value)
        if value != NONE and first != name:
            message = f"{value!r} is the {first} too"
            problems.append(Problem(f"{path}.{name}", message, "give different characters"))
    return problems
