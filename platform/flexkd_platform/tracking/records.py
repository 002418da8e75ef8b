"""The records of a job and its trials, independent of the tracking backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

from ..spec import sha256_of

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""A JSON value."""

TrialStatus = Literal["done", "reused", "failed", "pruned"]
"""How a trial ended; "reused": another job had finished it."""

JobStatus = Literal["done", "failed", "stopped"]
"""How a job ended."""

SYMBOLS = {"alpha": "α", "beta": "β", "lambda": "λ", "temperature": "τ"}
"""Symbols of settings in the literature."""


@dataclass(frozen=True)
class TrialRecord:
    """One trial: its settings and its results.

    hash: SHA-256 that identifies the trial; the same training has the same hash in every job.
    params: settings in which it differs from the other trials of its job: method settings, axes.
    settings: everything that determines the result except the seed, dotted path → value.
    metrics: final metrics, for example `test/accuracy`, each in its own unit.
    seconds: wall time of the training and its evaluation.
    run_id: the tracker's id of the run; "" if there is none.
    job: hash of the job; "" if it belongs to none.
    user: who ran it; "" for the user who records it.
    reason: why it failed or was pruned; "" otherwise.

    Where and by whom it is recorded; two records of one trial are equal whatever these are:
    users: everybody whose jobs use the trial, who ran it first.
    jobs: hashes of the jobs that use it, oldest first.
    experiment: name of the MLflow experiment.
    started: start of its run, in seconds since 1970; 0 if unknown.
    tags: further tags of its run, such as those that somebody set by hand.
    dataset: what it is trained on; recorded, and not read back.
    sizes: further final values, which are no results: `teacher/parameters`, `student/parameters`;
        recorded, and not read back.
    """

    hash: str
    method: str
    params: Mapping[str, Json]
    settings: Mapping[str, Json]
    seed: int
    status: TrialStatus
    metrics: Mapping[str, float]
    seconds: float
    run_id: str = ""
    job: str = ""
    user: str = ""
    reason: str = ""
    users: tuple[str, ...] = field(default=(), compare=False)
    jobs: tuple[str, ...] = field(default=(), compare=False)
    experiment: str = field(default="", compare=False)
    started: float = field(default=0.0, compare=False)
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
    dataset: DatasetRecord | None = field(default=None, compare=False, repr=False)
    sizes: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def group(self) -> str:
        """SHA-256 of method and settings: equal for trials that differ only in the seed."""
        return group_key(self.method, self.settings)

    @property
    def finished(self) -> bool:
        """Whether it has a student and metrics, from this job or an earlier one."""
        return self.status in {"done", "reused"}

    @property
    def group_name(self) -> str:
        """A readable name of the group, for example `flexkd α=0.5`."""
        return " ".join(filter(None, [self.method, params_text(self.params)]))

    @property
    def label(self) -> str:
        """A readable label, for example `flexkd α=0.5 seed 10`."""
        return f"{self.group_name} seed {self.seed}"


def group_key(method: str, settings: Mapping[str, Json]) -> str:
    """SHA-256 of method and settings. See `TrialRecord.group`."""
    return sha256_of({"method": method, "settings": dict(settings)})


@dataclass(frozen=True)
class StoredStudent:
    """The location of a student's files. They are large: runs refer to the storage.

    uri: of the artifact's folder in the storage.
    digest: SHA-256 over the names and SHA-256s of its files, from its manifest.
    folder: returns a local folder with the files to copy; downloads them if necessary.
    """

    uri: str
    digest: str
    folder: Callable[[], Path]


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of one optimiser step, or of the evaluation after it, by name."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class DatasetRecord:
    """The data set of a job.

    source: name or URI of its source.
    digest: fingerprint of its content.
    sizes: examples per split.
    profile: further statistics.
    """

    name: str
    source: str
    digest: str
    sizes: Mapping[str, int]
    profile: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """`movie-reviews (2,000 train, 300 validation, 1,000 test)`."""
        rows = ", ".join(f"{rows:,} {split}" for split, rows in in_order(self.sizes).items())
        return f"{self.name} ({rows})" if rows else self.name


@dataclass(frozen=True)
class JobRecord:
    """One job: its identity, its spec as written, and its data."""

    hash: str
    id: str
    name: str
    experiment: str
    spec_yaml: str
    tags: Mapping[str, str]
    dataset: DatasetRecord


def in_order(sizes: Mapping[str, int]) -> dict[str, int]:
    """Examples per split: train, validation and test first."""
    first = {split: sizes[split] for split in ("train", "validation", "test") if split in sizes}
    return first | dict(sizes)


def params_text(params: Mapping[str, Json], separator: str = " ") -> str:
    """Params as readable text: `α=0.5 learning_rate=0.0003`.

    A dotted path is shortened to its last part, unless two paths have the same last part.
    """
    ends = [path.rsplit(".", 1)[-1] for path in params]
    shown = {
        path: end if ends.count(end) == 1 else path for path, end in zip(params, ends, strict=True)
    }
    return separator.join(
        f"{SYMBOLS.get(shown[path], shown[path])}={_value_text(value)}"
        for path, value in params.items()
    )


def _value_text(value: Json) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 32 else f"{text[:12]}…"  # fingerprints, mostly
