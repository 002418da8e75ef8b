"""The rows of a dataset step: one Parquet file per split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def split_rows(folder: Path, split: str) -> int:
    """How many rows a split has, read from the file's footer."""
    return int(pq.read_metadata(folder / f"{split}.parquet").num_rows)


def read_rows(folder: Path, split: str, start: int = 0, stop: int | None = None) -> pa.Table:
    """Rows `start` to `stop` of a split; only the row groups that hold them are read."""
    with SplitReader(folder, split) as reader:
        return reader.rows(start, stop)


class SplitReader:
    """Reads a split slice by slice.

    The file is opened once, and the row groups of the last slice are cached: slices smaller than a
    row group would otherwise read it repeatedly.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self._file = pq.ParquetFile(folder / f"{split}.parquet")
        self.total: int = self._file.metadata.num_rows
        self._size: int = self._file.metadata.row_group(0).num_rows  # it may differ from today's
        self._groups = range(0)
        self._kept: pa.Table | None = None

    def rows(self, start: int = 0, stop: int | None = None) -> pa.Table:
        """Rows `start` to `stop`; only the row groups that hold them are read."""
        stop = self.total if stop is None else min(stop, self.total)
        groups = range(start // self._size, -(-stop // self._size))
        if self._kept is None or groups != self._groups:
            self._kept, self._groups = self._file.read_row_groups(list(groups)), groups
        return self._kept.slice(start - groups.start * self._size, stop - start)

    def take(self, rows: NDArray[np.int64]) -> pa.Table:
        """Some rows, given by their ascending numbers; one row group is in memory at a time."""
        groups_N = rows // self._size
        parts = []
        for group in np.unique(groups_N):
            first = int(group) * self._size
            part = self.rows(first, first + self._size)
            parts.append(part.take(pa.array(rows[groups_N == group] - first)))
        return pa.concat_tables(parts)

    def __enter__(self) -> SplitReader:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
