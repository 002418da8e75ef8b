"""Several sources as one data set, mixed by weight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from operator import or_

import numpy as np
import pyarrow as pa

from ..spec import (
    ClassificationTask,
    Mixture,
    MultilabelTask,
    Problem,
    SpecError,
    Task,
    TextTask,
    counted,
)
from .class_names import alike
from .conversation_rows import has_conversations
from .labelled import labels_of, with_lists
from .labels import Labels
from .leakage import without_leaked
from .missing import without_missing
from .prepared import KEY, Conversations
from .reading import Examples, Reading
from .sizes import sized
from .sources import READERS
from .splits import SPLITS, subset
from .splitting import SplitData, split_source

ORIGIN = "origin"
"""Column with the name of the part that an example comes from."""


def split_mixture(task: Task, path: str) -> SplitData:
    """The splits of a mixture: those of each part, one behind the other in the order of the spec.

    Each part has its own splits and sizes. Validation and test hold all examples of all parts;
    the weights are shares of train. Labels mean the same in all parts.
    """
    data = task.data
    assert isinstance(data, Mixture), "the caller goes by the source"
    tasks = {name: _of_part(task, part) for name, part in data.parts.items()}
    paths = {name: f"{path}.parts.{name}" for name in tasks}
    readings = {
        name: READERS[part.data.source](part, paths[name], "training")
        for name, part in tasks.items()
    }
    if any(_talks(reading) for reading in readings.values()):
        # Instructions beside conversations are conversations of one question.
        tasks = {name: part.model_copy(update={"template": "chat"}) for name, part in tasks.items()}
    labels = None
    if isinstance(task, TextTask):
        labels = _common_labels(task, tasks, readings, path)
    known = None if labels is None or labels.problems else labels
    parts = {
        name: split_source(part, paths[name], known, readings[name]) for name, part in tasks.items()
    }
    problems = [*_weight_problems(data, path)]
    problems += [problem for part in parts.values() for problem in part.problems]
    if labels is not None and labels.problems and not problems:
        problems = [_of_parts(problem, path) for problem in labels.problems]
    found = SplitData(
        content={"parts": {name: part.content for name, part in parts.items()}},
        labels=labels,
        conversations=_conversations(parts.values()),
        skipped={split: sum(part.skipped[split] for part in parts.values()) for split in SPLITS},
        place=f"{path}.parts",
        problems=problems,
        notes=tuple(note for part in parts.values() for note in part.notes),
    )
    if problems or not all(part.tables for part in parts.values()):
        return found
    found.problems += _pair_problems({name: part.tables for name, part in parts.items()}, path)
    if not found.problems:
        _mix(data, path, parts, found)
    return found


def _of_part(task: Task, part: object) -> Task:
    """The task on one part alone; its classes get their names from the mixture."""
    changes: dict[str, object] = {"data": part, "evaluation": {}}
    if isinstance(task, ClassificationTask | MultilabelTask):
        changes["label_names"] = {}
    return task.model_copy(update=changes)


def _of_parts(problem: Problem, path: str) -> Problem:
    """A problem of the labels of all parts, which have no column in common."""
    column = problem.path.removeprefix(f"{path}.")
    where = f"{path}.parts" if column in ("label", "labels") else problem.path
    return replace(problem, path=where)


def _talks(reading: Reading) -> bool:
    return any(has_conversations(examples.table) for examples in reading.splits.values())


def _conversations(parts: Iterable[SplitData]) -> Conversations | None:
    found = [part.conversations for part in parts if part.conversations is not None]
    return reduce(or_, found) if found else None


def _mix(data: Mixture, path: str, parts: Mapping[str, SplitData], found: SplitData) -> None:
    """Fill in the tables, and what is left out of them."""
    tables = {
        split: pa.concat_tables(
            [_with_origin(part.tables[split], name) for name, part in parts.items()]
        )
        for split in SPLITS
    }
    dropped = {
        split: sum(part.dropped.get(split, 0) for part in parts.values())
        for split in SPLITS
        if any(part.dropped for part in parts.values())
    }
    if data.drop_leaked:
        tables, more, wrong = without_leaked(tables, path, near=data.drop_leaked == "near")
        found.problems += wrong
        dropped = {split: dropped.get(split, 0) + more[split] for split in SPLITS}
    found.dropped = dropped
    tables["train"], wrong = _weighted(tables["train"], data, path)
    found.problems += wrong
    for split in ("validation", "test"):
        tables[split], wrong = sized(tables[split], split, data, path)
        found.problems += wrong
    found.tables = tables


def _common_labels(
    task: Task, tasks: Mapping[str, Task], readings: Mapping[str, Reading], path: str
) -> Labels | None:
    """The labels of all parts together, which define their meaning; None if parts are broken.

    Class numbers that the parts name in different ways are read by their names.
    """
    found: dict[tuple[str, str], Examples] = {}
    for name, reading in readings.items():
        if reading.problems:
            return None
        listed, unreadable = with_lists(reading.splits, tasks[name], path)
        kept, _, problems = without_missing(listed, tasks[name], path)
        if unreadable or problems:
            return None
        for split, examples in kept.items():
            found[split, name] = _only_labels(examples)
    by_name = False
    if isinstance(task, ClassificationTask):
        found, by_name, problems = alike(found, f"{path}.label")
        if problems:
            return Labels(problems=problems)
    splits: dict[str, list[Examples]] = {}
    for (split, _), examples in found.items():
        splits.setdefault(split, []).append(examples)
    try:
        joined = {
            split: Examples.joined(parts, f"the mixture ({split})", path)
            for split, parts in splits.items()
        }
    except SpecError as error:
        return Labels(problems=list(error.problems))
    return replace(labels_of(joined, task, path), by_name=by_name)


def _only_labels(examples: Examples) -> Examples:
    labels = [name for name in ("label", "labels") if name in examples.table.column_names]
    return replace(examples, table=examples.table.select(labels))


def _with_origin(table: pa.Table, name: str) -> pa.Table:
    return table.append_column(ORIGIN, pa.array([name] * len(table), pa.string()))


def _weighted(train: pa.Table, data: Mixture, path: str) -> tuple[pa.Table, list[Problem]]:
    """Train with the shares of the weights, as many examples as possible or as requested.

    No example is repeated, so the part that is smallest for its weight limits the rest.
    """
    if not data.weights:
        return sized(train, "train", data, path)
    origin = train[ORIGIN].to_numpy()
    parts = {name: train.filter(pa.array(origin == name)) for name in data.parts}
    total = sum(data.weights.values())
    shares = {name: data.weights[name] / total for name in parts}
    most = min(math.floor(len(part) / shares[name]) for name, part in parts.items())
    wanted = data.train or most
    rows = _apportioned(wanted, shares)
    if any(rows[name] > len(part) for name, part in parts.items()):
        message = f"{counted(wanted, 'example')} requested, but these weights allow {most:,}"
        remedy = f"request at most {most:,}, or change the weights: no example is repeated"
        return train, [Problem(f"{path}.train", message, remedy)]
    if not all(rows.values()):
        name = next(name for name, count in rows.items() if not count)
        message = f"{name} has no example among the {wanted:,} of train"
        return train, [Problem(f"{path}.weights", message, "raise its weight, or leave it out")]
    chosen = [
        subset(part, rows[name], f"train of {name}", data.subset_seed, KEY)
        for name, part in parts.items()
    ]
    return pa.concat_tables(chosen), []


def _apportioned(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers with these shares and this sum, by largest remainders."""
    exact = np.array([total * share for share in shares.values()])
    rows = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(rows - exact, kind="stable")
    rows[order[: total - int(rows.sum())]] += 1
    return dict(zip(shares, map(int, rows), strict=True))


def _weight_problems(data: Mixture, path: str) -> list[Problem]:
    remedy = f"name every part once: {', '.join(data.parts)}"
    if len(data.parts) < 2:
        message = "a mixture has two parts at least"
        return [Problem(f"{path}.parts", message, "add a part, or name its source directly")]
    unknown = [name for name in data.weights if name not in data.parts]
    absent = [name for name in data.parts if data.weights and name not in data.weights]
    return [
        *(Problem(f"{path}.weights.{name}", "is no part", remedy) for name in unknown),
        *(Problem(f"{path}.weights", f"{name} has no weight", remedy) for name in absent),
    ]


def _pair_problems(tables: Mapping[str, dict[str, pa.Table]], path: str) -> list[Problem]:
    pairs = {name: "text_pair" in part["train"].column_names for name, part in tables.items()}
    if len(set(pairs.values())) == 1:
        return []
    one, two = (next(name for name in pairs if pairs[name] is kind) for kind in (False, True))
    message = f"{one} has single texts, {two} has pairs"
    remedy = "name text_pair in all parts or in none"
    return [Problem(f"{path}.parts.{one}", message, remedy)]
