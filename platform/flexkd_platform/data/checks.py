"""Check a task's data, and load the examples if there are no problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..spec import Mixture, Problem, SpecError, Task, TextTask, counted, sha256_of
from .columns import listed
from .evaluation import SetFacts, read_evaluation
from .labels import Labels
from .leakage import leakage_notes, leaked_text
from .mixture import split_mixture
from .prepared import KEY, Conversations
from .scripts import word_rule_of
from .splits import SPLITS, Splits
from .splitting import SplitData, split_source


@dataclass(frozen=True)
class DataFacts:
    """Facts about the data that a plan needs.

    fingerprint: hex SHA-256 of the source's content (of the files' bytes, or of the name and
        commit on the hub; never of paths or times) and of how the task reads it: columns,
        template, prefix. It does not include sizes and shares, which are in the spec.
    sizes: number of used examples of each split.
    classes: classes of the head, those of the train split unless the task sets their number; None
        for other tasks.
    skipped: skipped rows of each split of the source, which contain nothing to learn.
    dropped: examples of each split that were left out since another split has them too; empty
        unless the spec drops them.
    evaluation: facts of each evaluation set.
    conversations: of its prompts; None if they are not conversations.
    word_rules: of the validation and the test split, as `SetFacts.word_rule`.
    names: the data's label of each class; empty where the data number the classes from 0.
    counts: used examples of each class, by split; empty for other tasks.
    notes: what to know about the data that is no problem; shown as warnings.
    """

    fingerprint: str
    sizes: Mapping[str, int]
    classes: int | None
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    evaluation: Mapping[str, SetFacts] = field(default_factory=dict)
    conversations: Conversations | None = None
    word_rules: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


def load_splits(task: Task, fingerprint: str | None = None) -> Splits:
    """The examples of a task: missing splits drawn from train, subsets drawn, order kept.

    fingerprint: of the source when it was checked; None if it was not checked before.

    Raises:
        SpecError: the problems that `check_data` finds in the task's own data, or that it changed.
    """
    splits, _, _, problems = _examine(task, "task.data")
    if splits is None:
        raise SpecError(problems)
    _refuse_changes("task.data", fingerprint, splits.fingerprint)
    return splits


def load_evaluation(
    task: Task, name: str, fingerprint: str | None = None
) -> tuple[pa.Table, SetFacts]:
    """The examples and facts of `task.evaluation[name]`, in the order of their source.

    These are the source's test split if it has one, else all examples of its train split or of
    its only file; `test: N` takes a subset. The columns are those of `Splits`. Class labels have
    the same meaning as in the task's own data, which is read for them.

    Raises:
        SpecError: the problems that `check_data` finds in this set, or in the data that define its
            classes.
    """
    known = None
    if isinstance(task, TextTask):
        splits, _, known, problems = _examine(task, "task.data")
        if splits is None:
            raise SpecError(problems)
    table, facts, problems = read_evaluation(task, name, f"task.evaluation.{name}", known)
    if table is None or facts is None:
        raise SpecError(problems)
    _refuse_changes(f"task.evaluation.{name}", fingerprint, facts.fingerprint)
    return table, facts


def _refuse_changes(path: str, before: str | None, now: str) -> None:
    """Reject data whose fingerprint has changed since the check.

    Raises:
        SpecError: the source changed since it was checked.
    """
    if before not in (None, now):
        message = "the data are not those that this job was planned with: their source changed"
        remedy = "give the same command again, which plans with the data as they are now"
        raise SpecError([Problem(path, message, remedy)])


def check_data(task: Task, *, path: str = "task.data") -> tuple[DataFacts | None, list[Problem]]:
    """Read a task's data and report all problems.

    Args:
        task: the task; all of its data and all sets of `task.evaluation` are read. For the hub, a
            first request ends within seconds if the hub does not answer.
        path: of the data section in the spec, with which the problems' paths start. That of an
            evaluation set is `evaluation.NAME` in the same section.

    Returns:
        The facts, None if and only if there are problems; and the problems.
    """
    splits, facts, known, problems = _examine(task, path)
    notes: list[Problem] = []
    beside = path.rpartition(".")[0]
    sets = {}
    if facts is not None and facts.conversations is not None:
        task = task.model_copy(update={"template": "chat"})
    for name in task.evaluation:
        set_path = f"{beside}.evaluation.{name}" if beside else f"evaluation.{name}"
        table, set_facts, found = read_evaluation(task, name, set_path, known)
        problems = [*problems, *found]
        if table is not None and set_facts is not None:
            sets[name] = set_facts
            notes += _set_notes(task, table, set_facts, splits, set_path)
    if problems or facts is None:
        return None, problems
    return replace(facts, evaluation=sets, notes=(*facts.notes, *notes)), []


def _set_notes(
    task: Task, table: pa.Table, facts: SetFacts, splits: Splits | None, path: str
) -> list[Problem]:
    """What to know about an evaluation set: its own notes, and how much of it is in train."""
    notes = list(facts.notes)
    if facts.skipped:
        message = f"{facts.skipped:,} {_skipped_rows(task)} are skipped"
        notes.append(Problem(path, message, "complete them to use them"))
    leaked = None if splits is None else leaked_text(table, splits.train, "", "train")
    if leaked is not None:
        notes.append(Problem(path, leaked[0], "leave them out of one of the two files"))
    return notes


def _examine(
    task: Task, path: str
) -> tuple[Splits | None, DataFacts | None, Labels | None, list[Problem]]:
    """Splits and facts of the task's own data, its labels if they are known, and problems."""
    mixed = isinstance(task.data, Mixture)
    found = split_mixture(task, path) if mixed else split_source(task, path)
    tables, labels = found.tables, found.labels
    known = labels if tables and labels is not None and not labels.problems else None
    problems = [*found.problems, *_template_problems(task, found)]
    if known is not None and len(tables["train"]):
        problems += _one_label(
            tables["train"], task, path, known.names, sum(found.skipped.values())
        )
    if problems:
        return None, None, known, problems
    fingerprint = sha256_of(found.content)
    bare = {split: table.drop_columns([KEY]) for split, table in tables.items()}
    facts = DataFacts(
        fingerprint=fingerprint,
        sizes={split: len(bare[split]) for split in SPLITS},
        classes=None,
        skipped=found.skipped,
        dropped=found.dropped,
        conversations=found.conversations,
        word_rules={split: word_rule_of(bare[split]) for split in ("validation", "test")},
        notes=(
            *found.notes,
            *_left_out(found, task, path),
            *leakage_notes(bare, path),
        ),
    )
    if labels is not None and labels.classes is not None:
        facts = replace(
            facts,
            classes=labels.classes,
            names=labels.names,
            counts={split: _counts(bare[split], labels.classes) for split in SPLITS},
        )
    splits = Splits(**bare, skipped=found.skipped, dropped=found.dropped, fingerprint=fingerprint)
    return splits, facts, known, []


def _left_out(found: SplitData, task: Task, path: str) -> list[Problem]:
    """Notes with the numbers of rows that are not used."""
    notes = []
    if any(found.skipped.values()):
        message = f"{_skipped_rows(task)} are skipped: {_by_split(found.skipped)}"
        notes.append(Problem(path, message, "complete them to use them"))
    if any(found.dropped.values()):
        message = f"examples that another split keeps are left out: {_by_split(found.dropped)}"
        notes.append(Problem(f"{path}.drop_leaked", message, "test keeps all of its examples"))
    return notes


def _skipped_rows(task: Task) -> str:
    return (
        "rows without a label"
        if isinstance(task, TextTask)
        else "rows without an input or a response"
    )


def _by_split(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} of {split}" for split, count in rows.items() if count)


def _template_problems(task: Task, found: SplitData) -> list[Problem]:
    """The problem of conversations that are to be read without a chat template."""
    if found.conversations is None or getattr(task, "template", "chat") != "none":
        return []
    message = "none, but the rows are conversations, which need the tokenizer's chat template"
    return [Problem("task.template", message, "leave it out, or set template: chat")]


def _one_label(
    train: pa.Table, task: Task, path: str, names: Sequence[str], skipped: int
) -> list[Problem]:
    label = train["label"].combine_chunks()
    several = pa.types.is_list(label.type)
    if several:
        same = len({tuple(row) for row in label.to_pylist()}) < 2
    else:
        same = pc.count_distinct(label).as_py() < 2
    if not same:
        return []
    column = "labels" if several else "label"
    labels = f"{path}.parts" if isinstance(task.data, Mixture) else f"{path}.{column}"
    where = f"{path}.train" if task.data.train is not None else labels
    first = label[0].as_py()
    if several:
        shown = listed([names[one] if names else str(one) for one in first]) or "none"
        message = f"all {len(train):,} training examples have the same classes: {shown}"
        return [Problem(where, message, "training needs examples of different classes")]
    first = names[first] if names else first
    message = f"all {len(train):,} training examples have the label {first}"
    remedy = "training needs examples of two labels at least"
    if skipped:
        rows = f"skipped without a label: {counted(skipped, 'row')}"
        remedy += f"; {rows}: if -1 is a class, write 0 for it"
    return [Problem(where, message, remedy)]


def _counts(table: pa.Table, classes: int) -> tuple[int, ...]:
    """The number of examples of each class."""
    label = table["label"].combine_chunks()
    index_N = label.flatten() if pa.types.is_list(label.type) else label
    return tuple(np.bincount(index_N.to_numpy(), minlength=classes).tolist())
