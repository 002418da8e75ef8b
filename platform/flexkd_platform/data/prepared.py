"""The examples that a task prepares from its source's rows, for any task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..spec import Problem, Task
from .labels import Labels
from .reading import Examples

KEY = "key"
"""Column with the key by which an example is drawn, in addition to those that models see."""


@dataclass
class PreparedData:
    """Examples as models see them.

    tables: by split, with the column `KEY`; empty if the rows of any split are not known.
    skipped: number of rows of each split that contain nothing to learn.
    rules: the task's settings that determine the tables, as JSON; part of the fingerprint.
    labels: None for tasks without labels.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    labels: Labels | None = None
    problems: list[Problem] = field(default_factory=list)


Prepare = Callable[[Mapping[str, Examples], Task, str, Labels | None], PreparedData]
"""Creates the examples of a source's splits. The third argument is the path of the data section in
the spec; the last one is the training data's labels, if the splits are those of an evaluation
set."""
