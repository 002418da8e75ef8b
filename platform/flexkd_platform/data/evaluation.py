"""Evaluation sets, each checked like the task's own data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ..spec import Problem, SplitSizes, Task, TextTask, sha256_of
from .labels import Labels
from .prepare import prepare
from .prepared import KEY, Conversations, PreparedData
from .scripts import word_rule_of
from .sizes import sized


@dataclass(frozen=True)
class SetFacts:
    """Facts about an evaluation set that a plan needs.

    fingerprint: hex SHA-256 of everything that determines its examples: the content, how the task
        reads it, the classes' names, and the subset.
    rows: number of used examples.
    skipped: skipped rows, which have nothing to compare with.
    conversations: of its prompts; None if they are not conversations.
    word_rule: how ROUGE reads its references if the spec does not say, see `scripts.word_rules`.
    notes: what was found in the source and the spec does not state.
    """

    fingerprint: str
    rows: int
    skipped: int
    word_rule: str = "words"
    conversations: Conversations | None = None
    notes: tuple[Problem, ...] = ()


def read_evaluation(
    task: Task, name: str, path: str, known: Labels | None
) -> tuple[pa.Table | None, SetFacts | None, list[Problem]]:
    """A set's examples and facts, None if there are problems; and the problems.

    Args:
        task: the task, which names the set.
        name: of the set.
        path: of its section in the spec, as `task.evaluation.vicuna`.
        known: the labels of the task's own data; None for tasks without labels, and if they are
            unknown, in which case labels are not checked.
    """
    data = task.evaluation[name]
    on_it = task.model_copy(update={"data": data, "evaluation": {}})
    problems = [*_unused_sizes(data, path), *_unused_settings(data, path)]
    reading, made, found = prepare(on_it, path, "evaluation", known)
    if isinstance(task, TextTask) and known is None and made.labels is not None:
        # The data that define the meaning of its labels cannot be read.
        found = [problem for problem in found if problem not in made.labels.problems]
    problems += [*found, *_other_template(task, made, path)]
    if not made.tables or not len(made.tables["test"]):
        return None, None, problems
    table, found = sized(made.tables["test"], "test", data, path)
    problems += found
    if problems:
        return None, None, problems
    identity: dict[str, Any] = {"content": reading.fingerprint, "rules": made.rules}
    if data.test is not None:
        identity["subset"] = [data.test, data.subset_seed]
    rule = word_rule_of(table)
    facts = SetFacts(
        sha256_of(identity),
        len(table),
        made.skipped["test"],
        rule,
        made.conversations,
        reading.notes,
    )
    return table.drop_columns([KEY]), facts, []


def _other_template(task: Task, made: PreparedData, path: str) -> list[Problem]:
    """The problem of conversations beside data that are not read with a chat template."""
    template = getattr(task, "template", None)
    if made.conversations is None or template == "chat":
        return []
    message = f"the set holds conversations, but the task's own data are read as {template}"
    return [Problem(path, message, "set task.template: chat, or leave the set out")]


def _unused_sizes(data: SplitSizes, path: str) -> list[Problem]:
    remedy = "leave it out; `test` sets the number of examples"
    return [
        Problem(f"{path}.{split}", "an evaluation set is not split", remedy)
        for split in ("train", "validation")
        if getattr(data, split) is not None
    ]


def _unused_settings(data: SplitSizes, path: str) -> list[Problem]:
    """Settings that matter only where splits are drawn or compared."""
    remedy = "leave it out; rows of an evaluation set are all kept"
    return [
        Problem(f"{path}.{name}", "has no effect in an evaluation set", remedy)
        for name in ("drop_leaked", "stratified")
        if getattr(data, name, False)
    ]
