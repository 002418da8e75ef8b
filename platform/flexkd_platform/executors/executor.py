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
from .work import OnEvent, Work


class LostWorkerError(RuntimeError):
    """A process that worked on a trial was lost; the trial may be run again."""


class Handle(Protocol):
    """Work that was submitted."""

    def cancel(self) -> None:
        """Stop it, without waiting for its end; it reports no further event."""


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
        """The nodes that work runs on."""

    @abstractmethod
    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        """Whether the work can start beside what runs now."""

    @abstractmethod
    def submit(self, work: Work, on_event: OnEvent) -> Handle:
        """Start the work.

        `on_event` receives `Started`, any number of `Advanced`, and `Ended` or `Pruned`. Work of an
        executor that runs in the calling process has ended when the call returns.

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
            trials: all that may be submitted until `close_sweep`.
            on_event: receives `Broken` if the sweep as a whole fails.
            halving: how trials are stopped early; None trains each to its end.
            scores: rung results of earlier trials, which these are compared with too.

        Raises:
            SpecError: trials cannot be stopped early here.
        """

    @abstractmethod
    def close_sweep(self) -> None:
        """Return when nothing of the sweep runs any more; no trial may be submitted after it."""

    def concurrent_trials(self) -> int:
        """How many trials run at a time; at least one, if `problems` finds nothing."""
        return fitting_trials(self.resources, self.capacity())

    def problems(self) -> list[Problem]:
        """Requests that can never be placed."""
        return resource_problems(self.resources, self.capacity())

    @abstractmethod
    def close(self) -> None:
        """Stop what still runs and release what the executor started."""
