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


@dataclass(frozen=True)
class Conversations:
    """What the conversations of a source have, which a chat template must be able to write.

    system: a message of the system. turns: several questions.
    given: whether the source holds conversations, and not instructions that are made to some.
    """

    system: bool = False
    turns: bool = False
    given: bool = True

    def __or__(self, other: Conversations) -> Conversations:
        return Conversations(
            self.system or other.system, self.turns or other.turns, self.given or other.given
        )


@dataclass
class PreparedData:
    """Examples as models see them.

    tables: by split, with the column `KEY`; empty if the rows of any split are not known.
    skipped: number of rows of each split that contain nothing to learn.
    rules: the task's settings that determine the tables, as JSON; part of the fingerprint.
    labels: None for tasks without labels.
    conversations: None if the prompts are not conversations.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    labels: Labels | None = None
    conversations: Conversations | None = None
    problems: list[Problem] = field(default_factory=list)


Prepare = Callable[[Mapping[str, Examples], Task, str, Labels | None], PreparedData]
"""Creates the examples of a source's splits. The third argument is the path of the data section in
the spec; the last one is the training data's labels, if the splits are those of an evaluation
set."""
