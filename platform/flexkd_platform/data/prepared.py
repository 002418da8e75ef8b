"""What a task makes of its source's rows, whatever the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..spec import Problem, Task
from .labels import Labels
from .reading import Examples

KEY = "key"
"""Column of what an example is drawn by, beside the ones that models see."""


@dataclass
class PreparedData:
    """Examples as models see them.

    tables: by split, with the column `KEY`; empty if any split's rows cannot be told.
    skipped: rows of each split that have nothing to learn.
    rules: what of the task decided the tables, as JSON; enters the fingerprint.
    labels: None for tasks without labels.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    labels: Labels | None = None
    problems: list[Problem] = field(default_factory=list)


Prepare = Callable[[Mapping[str, Examples], Task, str, Labels | None], PreparedData]
"""Makes examples of a source's splits. The third argument is the path of the data section in the
spec; the last one the training data's labels, if the splits are only measured on."""
