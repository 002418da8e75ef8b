"""The few things a place for runs must be able to do; `RunTracker` builds the rest on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .records import DatasetRecord

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Run:
    """A run as it was when asked for. `metrics` holds the latest value of each."""

    id: str
    status: RunStatus
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Point:
    """One value of one metric at one step."""

    key: str
    step: int
    value: float


class RunBackend(ABC):
    """Runs of one experiment. A call that fails raises; what it did before that may remain."""

    @abstractmethod
    def find(self, tags: Mapping[str, str]) -> Run | None:
        """The oldest run that carries all these tags, deleted ones aside."""

    @abstractmethod
    def creating(self) -> AbstractContextManager[object]:
        """Within it no other process creates runs, where processes can agree on that."""

    @abstractmethod
    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """A new, running run; returns its id."""

    @abstractmethod
    def discard(self, run_id: str) -> None:
        """Delete a run."""

    @abstractmethod
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, over those of the same name."""

    @abstractmethod
    def remove_tag(self, run_id: str, key: str) -> None:
        """Remove a tag that is there."""

    @abstractmethod
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Record params the run does not have yet."""

    @abstractmethod
    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Record metric points, however many."""

    @abstractmethod
    def points(self, run: Run) -> Iterable[Point]:
        """All points of the run, the latest of each metric last."""

    @abstractmethod
    def set_status(self, run_id: str, status: RunStatus) -> None:
        """Change the status; any but RUNNING ends the run now."""

    @abstractmethod
    def log_dataset(self, run_id: str, dataset: DatasetRecord) -> None:
        """Name the data a run used; once, however often it is called."""

    @abstractmethod
    def artifacts(self, run_id: str, folder: str) -> Mapping[str, int]:
        """Files below a folder of the run's artifacts: path inside it → bytes."""

    @abstractmethod
    def put(self, run_id: str, artifact: str, path: Path) -> None:
        """Copy a file, or a folder's content, to the artifact path given."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
