"""Split the examples of one source: what is missing is drawn, what leaks is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from ..spec import MadeSplits, Problem, Task
from .labels import Labels
from .leakage import with_plain_keys, without_leaked
from .prepare import prepare
from .prepared import KEY, Conversations
from .reading import Reading
from .sizes import cut
from .splits import SPLITS
from .stratified import stratified_problems


@dataclass
class SplitData:
    """The splits of a task's own data, with the column `KEY`.

    tables: empty if they are not known because of problems.
    content: what determines them besides the spec, as JSON; part of the fingerprint.
    labels: as read; None for tasks without labels.
    conversations: of its prompts; None if they are not conversations.
    skipped, dropped: rows of each split that are not used: nothing to learn, leaked.
    place: path in the spec of the examples' location.
    """

    tables: dict[str, pa.Table] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    labels: Labels | None = None
    conversations: Conversations | None = None
    skipped: dict[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    place: str = ""
    problems: list[Problem] = field(default_factory=list)
    notes: tuple[Problem, ...] = ()


def split_source(
    task: Task, path: str, known: Labels | None = None, reading: Reading | None = None
) -> SplitData:
    """Read a task's source and split it.

    Args:
        task: the task; its `data` is read.
        path: of that section in the spec.
        known: the labels of the mixture that the source is a part of.
        reading: the content of the source if it has been read.
    """
    reading, made, problems = prepare(task, path, known=known, reading=reading)
    found = SplitData(
        content={"content": reading.fingerprint, "rules": made.rules},
        labels=made.labels,
        conversations=made.conversations,
        skipped={split: made.skipped.get(split, 0) for split in SPLITS},
        place=reading.place,
        problems=problems,
        notes=reading.notes,
    )
    if not made.tables:
        return found
    tables, data = made.tables, task.data
    if isinstance(data, MadeSplits) and data.stratified:
        missing = [split for split in SPLITS if split not in tables]
        if wrong := stratified_problems(task, path, missing):
            found.problems += wrong
            return found
    if data.drop_leaked:
        near = data.drop_leaked == "near"
        tables, found.dropped, wrong = without_leaked(tables, path, near=near)
        found.problems += wrong
        if near:
            tables = {split: with_plain_keys(table, KEY) for split, table in tables.items()}
    if not (made.labels and made.labels.problems and getattr(data, "stratified", False)):
        # Classes that are not known cannot be drawn from.
        found.tables, wrong = cut(tables, data, path, reading.place)
        found.problems += wrong
    return found
