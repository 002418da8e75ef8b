"""The stored outputs of a group's students on one evaluated set, as people read them.

Shapes: S seeds, N examples, C classes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..artifacts import is_label_list, read_rows
from ..spec import Problem, SpecError
from ..store import StoreError
from .query import JobFiles

Form = Literal["class", "classes", "number", "text"]
Value = int | frozenset[int] | float | str
"""A class, the classes of a row, a number, or a text."""

PREDICTIONS = "predictions"


@dataclass(frozen=True)
class GroupOutputs:
    """What the students of a group predict for each example of a set.

    form: what a prediction is.
    seeds: of the students, in the order of the trials.
    predicted: by seed, then by example.
    expected: by example; of texts, the references joined by a line.
    names: of the classes; empty for other forms and for classes without names.
    scores: of texts, metric → score of each example, the mean over the seeds.
    """

    form: Form
    seeds: tuple[int, ...]
    predicted: tuple[tuple[Value, ...], ...]
    expected: tuple[Value, ...]
    names: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.expected)

    def consensus(self, example: int) -> Value:
        """What the seeds predict together: the most frequent class, the smallest of several; the
        classes that more than half predict; the mean number; the text of the first seed.
        """
        votes = [of_seed[example] for of_seed in self.predicted]
        first = votes[0]
        if isinstance(first, str):
            return first
        if isinstance(first, float):
            return float(np.mean([vote for vote in votes if isinstance(vote, float)]))
        if isinstance(first, frozenset):
            classes = Counter(c for vote in votes if isinstance(vote, frozenset) for c in vote)
            return frozenset(c for c, count in classes.items() if 2 * count > len(votes))
        counts = Counter(vote for vote in votes if isinstance(vote, int))
        return min(c for c, count in counts.items() if count == max(counts.values()))

    def agreeing(self, example: int) -> int:
        """How many seeds predict the consensus."""
        agreed = self.consensus(example)
        return sum(of_seed[example] == agreed for of_seed in self.predicted)

    def shown(self, value: Value) -> str:
        """A prediction or label as text, with class names."""
        if isinstance(value, str):
            return value
        if isinstance(value, float):
            return f"{value:.4g}"
        if isinstance(value, int):
            return self.name(value)
        return ", ".join(map(self.name, sorted(value))) or "none"

    def name(self, label: int) -> str:
        """The name of a class; its number if it has none."""
        return self.names[label] if label < len(self.names) else str(label)


def evaluated_sets(job: JobFiles, trial: Mapping[str, Any]) -> list[str]:
    """The split and the further sets that a trial's student was evaluated on."""
    split: str = job.spec().evaluate.split
    try:
        files = job.store.manifest_at("evaluate", trial["evaluation"]).files
    except (KeyError, StoreError):
        return [split]
    names = (name.removesuffix(".parquet") for name in sorted(files) if name.endswith(".parquet"))
    return [split, *(n.removeprefix(f"{PREDICTIONS}-") for n in names if n != PREDICTIONS)]


def group_outputs(
    job: JobFiles, trials: Sequence[Mapping[str, Any]], name: str, cut: float = 0.0
) -> GroupOutputs:
    """The outputs of some trials that differ only in the seed.

    Args:
        trials: entries of `results.json`.
        name: the split or set.
        cut: the logit above which a multi-label task predicts a class, where the evaluation did not
            choose it.

    Raises:
        SpecError: their predictions are not in the storage, or are of different examples.
    """
    tables = [_table(job, trial, name) for trial in trials]
    seeds = tuple(int(trial["seed"]) for trial in trials)
    if not tables:
        raise SpecError([Problem("", "no student of this group has finished", "wait for one")])
    if "prediction" in tables[0].column_names:
        found = _texts(seeds, tables)
    else:
        cuts = [_cut(job, trial, cut) for trial in trials]
        found = _labels(seeds, tables, cuts, _class_names(job, trials[0]))
    if any(_expected(table) != _expected(tables[0]) for table in tables[1:]):
        message = f"the students of this group were evaluated on different examples of {name}"
        raise SpecError([Problem("", message, "compare groups of one job")])
    return found


def example_rows(job: JobFiles, trial: Mapping[str, Any], name: str) -> pa.Table:
    """The rows of the set that a trial was evaluated on, in the order of its predictions.

    Raises:
        SpecError: the data set is not in the storage.
    """
    try:
        own = name == job.spec().evaluate.split
        needs = job.store.manifest_at("evaluate", trial["evaluation"]).needs
        digest = needs["dataset" if own else f"set {name}"]
        return read_rows(job.store.folder_at("dataset", digest), name if own else "test")
    except (KeyError, StoreError, FileNotFoundError) as error:
        message = f"the data of {name} are not there: {error}"
        raise SpecError([Problem("", message, AGAIN)]) from None


AGAIN = "run the job again with the same --storage: it makes what is missing"


def inputs_of(table: pa.Table) -> list[str]:
    """What the models read of each row, as text: both texts of a pair, the prompt."""
    if "prompt" in table.column_names:
        return [_prompt(prompt) for prompt in table["prompt"].to_pylist()]
    texts: list[str] = table["text"].to_pylist()
    if "text_pair" not in table.column_names:
        return texts
    return [
        f"{one}\n{other}" for one, other in zip(texts, table["text_pair"].to_pylist(), strict=True)
    ]


def _prompt(prompt: str) -> str:
    """A prompt; the messages of a conversation with their roles."""
    try:
        messages = json.loads(prompt)
        return "\n".join(f"{one['role']}: {one['content']}" for one in messages)
    except (ValueError, TypeError, KeyError):
        return prompt


def _table(job: JobFiles, trial: Mapping[str, Any], name: str) -> pa.Table:
    try:
        own = name == job.spec().evaluate.split
        file = f"{PREDICTIONS}.parquet" if own else f"{PREDICTIONS}-{name}.parquet"
        return pq.read_table(job.store.file_at("evaluate", trial["evaluation"], file))
    except (KeyError, StoreError) as error:
        message = f"the predictions on {name} of seed {trial['seed']} are not there: {error}"
        raise SpecError([Problem("", message, AGAIN)]) from None


def _expected(table: pa.Table) -> list[Any]:
    name = "references" if "references" in table.column_names else "label"
    column: list[Any] = table[name].to_pylist()
    return column


def _texts(seeds: tuple[int, ...], tables: Sequence[pa.Table]) -> GroupOutputs:
    """The texts of each student; where it sampled, those of the first seed of its decoding."""
    count = len(set(tables[0]["example"].to_pylist()))
    others = ("seed", "example", "prediction", "references")
    scores = {
        name: np.mean([t[name].to_numpy().reshape(-1, count).mean(axis=0) for t in tables], axis=0)
        for name in tables[0].column_names
        if name not in others and count
    }
    return GroupOutputs(
        "text",
        seeds,
        tuple(tuple(table["prediction"].to_pylist()[:count]) for table in tables),
        tuple("\n".join(found) for found in tables[0]["references"].to_pylist()[:count]),
        scores={name: tuple(map(float, values)) for name, values in scores.items()},
    )


def _labels(
    seeds: tuple[int, ...],
    tables: Sequence[pa.Table],
    cuts: Sequence[float],
    names: tuple[str, ...],
) -> GroupOutputs:
    label = tables[0]["label"]
    outputs = [np.array(table["outputs"].to_pylist(), dtype=np.float64) for table in tables]
    if is_label_list(label.type):
        sets = [
            tuple(frozenset(map(int, np.flatnonzero(row))) for row in output_NC > cut)
            for output_NC, cut in zip(outputs, cuts, strict=True)
        ]
        expected = tuple(frozenset(found or ()) for found in label.to_pylist())
        return GroupOutputs("classes", seeds, tuple(sets), expected, names)
    if pa.types.is_integer(label.type):
        classes = [tuple(map(int, output_NC.argmax(axis=1))) for output_NC in outputs]
        return GroupOutputs("class", seeds, tuple(classes), tuple(label.to_pylist()), names)
    numbers = [tuple(map(float, output_NC[:, 0])) for output_NC in outputs]
    return GroupOutputs("number", seeds, tuple(numbers), tuple(map(float, label.to_pylist())))


def _cut(job: JobFiles, trial: Mapping[str, Any], cut: float) -> float:
    """The logit above which a class is predicted: that of the evaluation if it chose one."""
    threshold = job.store.manifest_at("evaluate", trial["evaluation"]).summary.get("threshold")
    return cut if threshold is None else float(np.log(threshold / (1 - threshold)))


def _class_names(job: JobFiles, trial: Mapping[str, Any]) -> tuple[str, ...]:
    """The names in the config of a student; none for the numbers that transformers gives."""
    try:
        file: Path = job.store.file_at("distill", trial["hash"], "model/config.json")
        names = json.loads(file.read_text()).get("id2label", {})
    except (StoreError, ValueError):
        return ()  # an adapter, or a student that was deleted
    ordered = tuple(str(names[key]) for key in sorted(names, key=int))
    return () if all(name == f"LABEL_{place}" for place, name in enumerate(ordered)) else ordered
