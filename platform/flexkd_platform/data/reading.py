"""What every source hands over: its splits as they are, and the identity of their content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from ..spec import Problem, Task

READING_VERSION = 1
"""Enters every fingerprint; raise it when the same source comes to mean other examples."""

Purpose = Literal["training", "evaluation"]
"""Training takes all splits. Evaluation takes one, which it calls `test`: the source's own test
split, or all of its train split, or of its only file, if it has none."""


@dataclass(frozen=True)
class Examples:
    """One split as its source holds it.

    table: a column for each role that the task's data section names (`columns.HOLDS`): texts and
        labels of whatever types the source has, responses as `responses.RESPONSES`.
    origin: names the split in messages, as `reviews/test.csv`.
    """

    table: pa.Table
    origin: str

    def rows(self, mask: np.ndarray) -> str:
        """Where `mask` (one bool a row) is true: `row 3 of reviews/test.csv (and 2 more)`.

        Rows are examples, from 1: a header line is not counted.
        """
        found = np.flatnonzero(mask)
        more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
        return f"row {found[0] + 1} of {self.origin}{more}"


@dataclass(frozen=True)
class Reading:
    """What a source gave; splits that are missing or could not be read are not in `splits`.

    place: path in the spec that says where the examples come from, as `task.data.path`.
    fingerprint: hex SHA-256 of the content; "" when something could not be read.
    """

    place: str
    splits: dict[str, Examples] = field(default_factory=dict)
    fingerprint: str = ""
    problems: tuple[Problem, ...] = ()


Reader = Callable[[Task, str, Purpose], Reading]
"""Reads a task's source; the second argument is the path of `task.data` in the spec."""
