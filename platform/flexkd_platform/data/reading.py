"""What every source returns: its unchanged splits, and the identity of their content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from ..spec import Problem, SpecError, Task
from .columns import listed
from .roles import joined_tables

READING_VERSION = 1
"""Part of every fingerprint; increment it when the same source results in other examples."""

Purpose = Literal["training", "evaluation"]
"""Training uses all splits. Evaluation uses one, which it calls `test`: the source's own test
split, or all of its train split, or of its only file, if it has none."""


@dataclass(frozen=True)
class SourceRows:
    """Where the rows of a table come from, if not all rows of one file or split in order.

    origins: names of files or splits.
    origin_N: index of each row's origin.
    row_N: number of each row there, from 0.
    """

    origins: tuple[str, ...]
    origin_N: np.ndarray
    row_N: np.ndarray


@dataclass(frozen=True)
class Examples:
    """One split, as in its source.

    table: a column for each role that the task's data section names (`columns.HOLDS`): texts and
        labels with the types of the source, responses as `responses.RESPONSES`.
    origin: name of the split in messages, as `reviews/test.csv`.
    class_names: the source's names of numbered classes, as of a `ClassLabel`; empty without them.
    source: where the rows come from; None: they are the rows of `origin`.
    """

    table: pa.Table
    origin: str
    class_names: tuple[str, ...] = ()
    source: SourceRows | None = None

    @classmethod
    def joined(cls, parts: list[Examples], origin: str, path: str) -> Examples:
        """The parts, one behind the other; a single part as it is.

        Args:
            parts: of one split, at least one.
            origin: name of the whole.
            path: of the data section in the spec.

        Raises:
            SpecError: some parts have other columns, texts of another type, or other names of
                classes.
        """
        if len(parts) == 1:
            return parts[0]
        named: dict[tuple[str, ...], str] = {}
        for part in parts:
            if part.class_names:
                named.setdefault(part.class_names, part.origin)
        if len(named) > 1:
            shown = [
                f"{where} has the classes {listed([*names])}" for names, where in named.items()
            ]
            problem = Problem(f"{path}.label", "; ".join(shown[:2]), "write them in one order")
            raise SpecError([problem])
        table = joined_tables([(part.table, part.origin) for part in parts], path)
        rows = [len(part.table) for part in parts]
        source = SourceRows(
            tuple(part.origin for part in parts),
            np.repeat(np.arange(len(parts)), rows),
            np.concatenate([np.arange(count) for count in rows]),
        )
        return cls(table, origin, next(iter(named), ()), source)

    def without(self, left_out_N: np.ndarray) -> Examples:
        """The rows where `left_out_N` (one bool per row) is false."""
        if not left_out_N.any():
            return self
        kept_N = ~left_out_N
        source = self.source or SourceRows(
            (self.origin,), np.zeros(len(self.table), dtype=np.int64), np.arange(len(self.table))
        )
        picked = SourceRows(source.origins, source.origin_N[kept_N], source.row_N[kept_N])
        return replace(self, table=self.table.filter(pa.array(kept_N)), source=picked)

    def rows(self, mask: np.ndarray) -> str:
        """Where `mask` (one bool per row) is true: `row 3 of reviews/test.csv (and 2 more)`.

        Rows are examples, counted from 1 without a header line.
        """
        found = np.flatnonzero(mask)
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        return f"{self.row(found[0])}{more}"

    def row(self, place: int) -> str:
        """Where a row is, given its place in the table: `row 3 of reviews/test.csv`."""
        number, origin = place + 1, self.origin
        if self.source is not None:
            number = self.source.row_N[place] + 1
            origin = self.source.origins[self.source.origin_N[place]]
        return f"row {number} of {origin}"


@dataclass(frozen=True)
class Reading:
    """The content of a source; missing or unreadable splits are not in `splits`.

    place: path in the spec of the examples' location, as `task.data.path`.
    fingerprint: hex SHA-256 of the content; "" when something could not be read.
    notes: what was found in the source and the spec does not state.
    """

    place: str
    splits: dict[str, Examples] = field(default_factory=dict)
    fingerprint: str = ""
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


Reader = Callable[[Task, str, Purpose], Reading]
"""Reads a task's source; the second argument is the path of `task.data` in the spec."""
