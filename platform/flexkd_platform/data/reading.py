"""What every source returns: its unchanged splits, and the identity of their content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from ..spec import Problem, Task

READING_VERSION = 1
"""Part of every fingerprint; increment it when the same source results in other examples."""

Purpose = Literal["training", "evaluation"]
"""Training uses all splits. Evaluation uses one, which it calls `test`: the source's own test
split, or all of its train split, or of its only file, if it has none."""


@dataclass(frozen=True)
class Examples:
    """One split, as in its source.

    table: a column for each role that the task's data section names (`columns.HOLDS`): texts and
        labels with the types of the source, responses as `responses.RESPONSES`.
    origin: name of the split in messages, as `reviews/test.csv`.
    """

    table: pa.Table
    origin: str

    def rows(self, mask: np.ndarray) -> str:
        """Where `mask` (one bool per row) is true: `row 3 of reviews/test.csv (and 2 more)`.

        Rows are examples, counted from 1 without a header line.
        """
        found = np.flatnonzero(mask)
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        return f"row {found[0] + 1} of {self.origin}{more}"


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
