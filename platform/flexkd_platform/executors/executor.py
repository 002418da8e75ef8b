"""What an executor does, wherever it does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from ..cluster.capacity import Capacity, fitting_trials, resource_problems
from ..plan import Step, Trial
from ..spec import Problem, Resources
from ..steps import ChunkDone, ChunkedPass
from ..store import Store
from ..training import Progress
from .early_stopping import Halving, Scores


class StepError(RuntimeError):
    """A step could not be done. The message is for people; `detail` is the traceback."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class LostWorkerError(RuntimeError):
    """A process that worked on a trial is gone; the trial may be run again."""


class TrialListener(Protocol):
    """Is told what happens to trials, in the process that started them."""

    def started(self, trial: Trial) -> None:
        """The trial has a worker."""

    def progressed(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Steps of the trial's training, in order, each told once."""

    def ended(self, trial: Trial, failure: StepError | None) -> None:
        """The trial's artifacts are there, or `failure` says why not."""

    def pruned(self, trial: Trial, reason: str) -> None:
        """The trial was stopped before its end, and has no artifacts."""


class Executor(ABC):
    """Runs steps, scoring passes and trials against one store."""

    name: str

    def __init__(self, store: Store, resources: Resources) -> None:
        self.store = store
        self.resources = resources

    @abstractmethod
    def capacity(self) -> Capacity:
        """What there is to run on."""

    @abstractmethod
    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run one shared step.

        Raises:
            StepError: it could not be done.
        """

    @abstractmethod
    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the missing chunks of a pass over the training examples and publish what it yields.

        Raises:
            StepError: a chunk could not be done; the finished ones are kept.
        """

    @abstractmethod
    def trials(
        self,
        trials: Sequence[Trial],
        listener: TrialListener,
        halving: Halving | None = None,
        scores: Scores | None = None,
    ) -> None:
        """Run trials, as many at a time as fit. One that fails does not stop the others.

        halving: how those that do badly are stopped early; None: all train to their end.
        scores: of trials that trained before, which these are compared with too.

        Raises:
            SpecError: trials cannot be stopped here; none was started.
        """

    def concurrent_trials(self) -> int:
        """How many trials run at a time; at least one, if `problems` finds nothing."""
        return fitting_trials(self.resources, self.capacity())

    def problems(self) -> list[Problem]:
        """Requests that can never be placed."""
        return resource_problems(self.resources, self.capacity())

    @abstractmethod
    def close(self) -> None:
        """Give back what the executor started."""
