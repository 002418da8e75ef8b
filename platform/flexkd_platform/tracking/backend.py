"""The interface of a backend that stores runs; `RunTracker` is built on it."""

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
    """A snapshot of a run. `metrics` has the latest value of each metric.

    experiment: id of its experiment; "" if the reader did not ask.
    started: in milliseconds since 1970, by the clock of who started it.
    """

    id: str
    status: RunStatus
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    experiment: str = ""
    started: int = 0


@dataclass(frozen=True)
class Point:
    """One value of one metric at one step."""

    key: str
    step: int
    value: float


class RunBackend(ABC):
    """Runs of one experiment. A call that fails raises, and may have done part of its work."""

    @abstractmethod
    def find(self, tags: Mapping[str, str]) -> Run | None:
        """The oldest run with all of these tags, except deleted runs."""

    @abstractmethod
    def creating(self) -> AbstractContextManager[object]:
        """A context in which no other process creates runs, if the backend supports locking."""

    @abstractmethod
    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run with status RUNNING; returns its id."""

    @abstractmethod
    def discard(self, run_id: str) -> None:
        """Delete a run."""

    @abstractmethod
    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags, overwriting existing values."""

    @abstractmethod
    def remove_tag(self, run_id: str, key: str) -> None:
        """Remove an existing tag."""

    @abstractmethod
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Log params that the run does not have yet."""

    @abstractmethod
    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log any number of metric points."""

    @abstractmethod
    def points(self, run: Run) -> Iterable[Point]:
        """All points of the run, the latest of each metric last."""

    @abstractmethod
    def set_status(self, run_id: str, status: RunStatus) -> None:
        """Set the status; any status other than RUNNING ends the run."""

    @abstractmethod
    def log_dataset(self, run_id: str, dataset: DatasetRecord) -> None:
        """Log the data set of a run. Idempotent."""

    @abstractmethod
    def artifacts(self, run_id: str, folder: str) -> Mapping[str, int]:
        """Files in a folder of the run's artifacts: relative path → size in bytes."""

    @abstractmethod
    def put(self, run_id: str, artifact: str, path: Path) -> None:
        """Copy a file, or the content of a folder, to an artifact path."""

    @abstractmethod
    def close(self) -> None:
        """Close connections."""
