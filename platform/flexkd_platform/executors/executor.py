"""The interface of executors: `submit(work, on_event) -> Handle`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from ..cluster import Capacity, fitting_trials, resource_problems
from ..plan import Trial
from ..spec import Problem, Resources
from ..store import Store
from .early_stopping import Halving, RungScores
from .job_metrics import JobMetrics
from .work import OnEvent, Work


class LostWorkerError(RuntimeError):
    """A process of a trial was lost; the trial may be retried."""


class Handle(Protocol):
    """A handle to submitted work."""

    def cancel(self) -> None:
        """Stop the work without waiting for it to end; it reports no further event."""


class Executor(ABC):
    """Runs steps, passes over the training examples, and trials against one store.

    Trials are submitted between `open_sweep` and `close_sweep`. Everything else can be submitted at
    any time.
    """

    name: str

    def __init__(self, store: Store, resources: Resources) -> None:
        self.store = store
        self.resources = resources

    @abstractmethod
    def capacity(self) -> Capacity:
        """The nodes that can run work."""

    @abstractmethod
    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        """Whether the work can start in addition to the running work."""

    @abstractmethod
    def submit(self, work: Work, on_event: OnEvent) -> Handle:
        """Start the work.

        `on_event` receives `Started`, any number of `Advanced`, and `Ended` or `Pruned`. An
        executor that runs work in the calling process returns when the work has ended.

        Raises:
            SpecError: the work cannot run here; nothing was started.
        """

    @abstractmethod
    def open_sweep(
        self,
        trials: Sequence[Trial],
        on_event: OnEvent,
        halving: Halving | None = None,
        scores: RungScores | None = None,
    ) -> None:
        """Prepare for trials; not all of them need to be submitted.

        Args:
            trials: all trials that may be submitted until `close_sweep`.
            on_event: receives `Broken` if the sweep as a whole fails.
            halving: the early stopping settings; None trains every trial to its end.
            scores: rung results of earlier trials, which are included in the comparison.

        Raises:
            SpecError: trials cannot be stopped early here.
        """

    @abstractmethod
    def close_sweep(self) -> None:
        """Wait until all submitted trials have ended; no further trial may be submitted."""

    def concurrent_trials(self) -> int:
        """The number of trials that run concurrently; at least one if `problems` is empty."""
        return fitting_trials(self.resources, self.capacity())

    def problems(self) -> list[Problem]:
        """Resource requests that can never be scheduled."""
        return resource_problems(self.resources, self.capacity())

    def metrics(self, job: str, user: str) -> JobMetrics:
        """The metrics of a job, for monitoring; nothing is recorded unless an executor can.

        Args:
            job: its id.
            user: who runs it.
        """
        return JobMetrics()

    @abstractmethod
    def close(self) -> None:
        """Stop running work and release what the executor started."""
