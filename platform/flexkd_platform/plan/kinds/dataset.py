"""The dataset step: splits read from their source once, stored as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ...spec import (
    FilesSource,
    JobSpec,
    Mixture,
    OwnData,
    OwnDocuments,
    OwnInstructions,
    OwnLabelLists,
    Task,
)
from ..facts import Facts
from ..step import Step, StepConfig
from ..step_kind import StepKind

Source = OwnData | OwnLabelLists | OwnInstructions | OwnDocuments


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """The rows of each split."""
    return ", ".join(_rows(split, profile) for split, profile in summary.items())


def _rows(split: str, profile: Mapping[str, Any]) -> str:
    labelled = not profile.keys().isdisjoint({"classes", "label_min"})
    kind = "without a label" if labelled else "empty ones"
    notes = [
        f"{rows:,} {what}"
        for key, what in {
            "skipped": f"{kind} skipped",
            "dropped": "of another split left out",
            "also_in_train": "also in train",
            "also_in_test": "also in test",
            "nearly_in_train": "nearly in train",
            "nearly_in_test": "nearly in test",
        }.items()
        if (rows := profile.get(key))
    ]
    notes += [f"{name} {rows:,}" for name, rows in profile.get("origins", {}).items()]
    more = f" ({', '.join(notes)})" if notes else ""
    return f"{split} {profile['rows']:,}{more}"


KIND = StepKind("dataset", 2, "data set", "driver", _summary_line)


_IN_FINGERPRINT = {"path", "revision", "delimiter", "quote", "escape"}


@dataclass(frozen=True)
class DatasetConfig(StepConfig):
    """The data of a task, or one of its evaluation sets.

    task: how a source is read. The identity includes only its kind and the source.
    evaluation_set: the set's name; None for the task's own data.
    fingerprint: of the source's content.
    """

    kind: ClassVar = KIND
    task: Task
    evaluation_set: str | None
    fingerprint: str

    @property
    def source(self) -> Source:
        """Where the examples come from."""
        if self.evaluation_set is None:
            return self.task.data
        return self.task.evaluation[self.evaluation_set]

    @property
    def name(self) -> str:
        """The name of the data set, or `files` or `mixture`."""
        source = self.source
        return source.source if isinstance(source, FilesSource | Mixture) else source.name

    def to_identity(self) -> dict[str, Any]:
        """The source by content, without path and revision: a branch and its commit are equal."""
        identity = _by_content(self.source.to_json())
        identity |= {
            "name": self.name,
            "task": self.task.kind,
            "fingerprint": self.fingerprint,
        }
        return identity if self.evaluation_set is None else {**identity, "part": "evaluation"}


def dataset_step(spec: JobSpec, facts: Facts) -> Step[DatasetConfig]:
    """The splits of the task's own data."""
    return Step(DatasetConfig(_with_absolute_paths(spec.task), None, facts.data_fingerprint))


def set_step(spec: JobSpec, facts: Facts, name: str) -> Step[DatasetConfig]:
    """One further evaluation set."""
    task = _with_absolute_paths(spec.task)
    if facts.conversations:
        task = task.model_copy(update={"template": "chat"})
    return Step(DatasetConfig(task, name, facts.sets[name]))


def _with_absolute_paths(task: Task) -> Task:
    """The task with absolute paths, since workers have another working directory."""
    sets = {name: _absolute(source) for name, source in task.evaluation.items()}
    return task.model_copy(update={"data": _absolute(task.data), "evaluation": sets})


def _absolute(source: Source) -> Source:
    if isinstance(source, Mixture):
        parts = {name: _absolute(part) for name, part in source.parts.items()}
        return source.model_copy(update={"parts": parts})
    if not isinstance(source, FilesSource):
        return source
    return source.model_copy(update={"path": str(Path(source.path).expanduser().absolute())})


def _by_content(source: Mapping[str, Any]) -> dict[str, Any]:
    """A source without what its fingerprint covers: its place, and how its bytes are read."""
    identity = {k: v for k, v in source.items() if k not in _IN_FINGERPRINT}
    if "parts" in identity:
        identity["parts"] = {name: _by_content(part) for name, part in source["parts"].items()}
    return identity
