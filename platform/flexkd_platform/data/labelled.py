"""Texts, or pairs of texts, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ..spec import LabelListColumns, MultilabelTask, Problem, Task, TextColumns
from .columns import column_names
from .label_lists import list_labels
from .label_rows import as_lists
from .labels import Labels, read_labels
from .missing import without_missing
from .prepared import KEY, PreparedData
from .reading import Examples
from .roles import is_text

TEXTS = {"text": "text", "text_pair": "second text"}
"""Role of a column → its content, as named in messages."""


def make_labelled(
    splits: Mapping[str, Examples], task: Task, path: str, known: Labels | None
) -> PreparedData:
    """`text`, `text_pair` if the source has pairs, and `label`.

    Every row must have all of them: a label without a text is an error, not a skipped row. Rows
    without a label are skipped if the data section allows it.
    """
    splits, unreadable = with_lists(splits, task, path)
    splits, skipped, empty = without_missing(splits, task, path)
    made = PreparedData(skipped=skipped)
    if empty:
        made.problems = [*unreadable, *empty]
        return made
    if isinstance(task.data, TextColumns | LabelListColumns):
        made.rules = {"columns": column_names(task.data)[0]}
    labels = made.labels = labels_of(splits, task, path, known, unreadable)
    if known is not None:
        made.rules |= {"task": task.kind, "words": labels.words} | _naming(splits, known)
    if labels.vectors:
        made.rules["vectors"] = True
    if labels.numbers is not None:
        made.rules["numbers"] = labels.numbers
    whole = True
    for examples in splits.values():
        problems, readable = _text_problems(examples, path)
        made.problems += problems
        whole &= readable
    made.problems += labels.problems
    if whole:
        made.tables = {name: _table(examples, labels, name) for name, examples in splits.items()}
    return made


def with_lists(
    splits: Mapping[str, Examples], task: Task, path: str
) -> tuple[dict[str, Examples], list[Problem]]:
    """The splits as `as_lists` makes them for a multi-label task; as they are for others."""
    if not isinstance(task.data, LabelListColumns):
        return dict(splits), []
    return as_lists(splits, task.data, path)


def labels_of(
    splits: Mapping[str, Examples],
    task: Task,
    path: str,
    known: Labels | None = None,
    problems: Sequence[Problem] = (),
) -> Labels:
    """The labels of a task, see `read_labels` and `list_labels`; problems are those of lists."""
    if isinstance(task, MultilabelTask):
        return list_labels(splits, task, path, known, problems)
    return read_labels(splits, task, path, known)


def _naming(splits: Mapping[str, Examples], known: Labels) -> dict[str, object]:
    """The names by which class numbers are read, if the set does not name them in the same way."""
    names = {examples.class_names for examples in splits.values()} - {()}
    if not names or known.words is not None or names == {known.class_names}:
        return {}
    return {"class_names": list(known.class_names)} if not known.by_name else {"by_name": True}


def _text_problems(examples: Examples, path: str) -> tuple[list[Problem], bool]:
    """Problems of the texts, and whether all columns have the type of texts."""
    problems, readable = [], True
    for role, noun in TEXTS.items():
        if role not in examples.table.column_names:
            continue
        text = examples.table[role]
        if not is_text(text.type):
            message = f"the {noun}s of {examples.origin} are of type {text.type}"
            problems.append(Problem(f"{path}.{role}", message, f"name the column of the {noun}"))
            readable = False
            continue
        trimmed = pc.utf8_trim_whitespace(text.cast(pa.string()))
        empty_N = pc.equal(trimmed, "").fill_null(True).to_numpy()
        if empty_N.any():
            message = f"{examples.rows(empty_N)} has no {noun}"
            remedy = f"give the row a {noun} or remove it"
            problems.append(Problem(f"{path}.{role}", message, remedy))
    return problems, readable


def _table(examples: Examples, labels: Labels, name: str) -> pa.Table:
    columns = {
        role: examples.table[role].cast(pa.string())
        for role in TEXTS
        if role in examples.table.column_names
    }
    key = columns["text"]
    if "text_pair" in columns:
        # Texts contain no zero byte, so different pairs have different keys.
        key = pc.binary_join_element_wise(
            key, columns["text_pair"], "\0", null_handling="replace", null_replacement=""
        )
    label = labels.columns.get(name)
    if label is None:
        label = examples.table["label" if "label" in examples.table.column_names else "labels"]
    return pa.table({**columns, "label": label, KEY: key})
