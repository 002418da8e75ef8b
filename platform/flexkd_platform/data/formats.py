"""The supported file formats. To add one, add a function and a line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..spec import SpecError
from .columns import Columns, shortened
from .delimited import read_csv, read_tsv
from .jsonl import read_json, read_jsonl
from .roles import by_role


def read_parquet(file: Path, columns: Columns) -> pa.Table:
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
    except pa.ArrowInvalid as error:
        what = f" is not a readable Parquet file: {shortened(str(error))}"
        raise SpecError([columns.broken(what, "write it again")]) from None
    return by_role(table, columns)


FORMATS: dict[str, Callable[[Path, Columns], pa.Table]] = {
    ".parquet": read_parquet,
    ".jsonl": read_jsonl,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_tsv,
}
"""By file extension. All raise a SpecError that names the file and the location."""
