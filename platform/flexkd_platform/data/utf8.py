"""Find the first line of a text file that is not UTF-8."""

from __future__ import annotations

from pathlib import Path

from ..spec import Problem
from .columns import Columns


def not_utf8(file: Path, columns: Columns) -> Problem | None:
    """The problem that names the first line of `file` that is not UTF-8; None if all of it is."""
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
                what = f", line {number}: {byte} is not UTF-8"
                return columns.broken(what, "save the file as UTF-8")
    return None
