"""The reference executor: everything in this process, one piece of work at a time, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ..cluster import Capacity
from ..plan import Step, Trial
from ..spec import SpecError
from ..steps import ChunkDone, ChunkedPass, run_step, run_trial
from ..tracking import Progress
from ..training import SoloWorker, local_device
from .early_stopping import Halving, RungScores, cannot_stop
from .executor import Executor
from .work import (
    Advanced,
    Ended,
    OnEvent,
    PassWork,
    Started,
    StepError,
    StepWork,
    Work,
    failure_of,
)


class Finished:
    """The handle of work that has ended when it is returned."""

    def cancel(self) -> None:
        """Nothing runs any more."""


class InProcessExecutor(Executor):
    """No Ray. One scoring worker and one trial worker, whatever the spec asks for."""

    name = "in-process"

    def capacity(self) -> Capacity:
        """This machine's CPUs."""
        return Capacity.of_machine()

    def concurrent_trials(self) -> int:
        """One."""
        return 1

    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        """Whether nothing else runs."""
        return not running

    def submit(self, work: Work, on_event: OnEvent) -> Finished:
        """Run the work to its end."""
        failure = None
        try:
            if isinstance(work, StepWork):
                on_event(Started(work))
                self.run(work.step, lambda progress: on_event(Advanced(work, [progress])))
            elif isinstance(work, PassWork):
                self._submit_pass(work, on_event)
            else:
                on_event(Started(work))
                for progress in self._trial(work.trial):
                    on_event(Advanced(work, [progress]))
        except Exception as error:  # a failed step does not stop what does not need it
            failure = failure_of(error)
        on_event(Ended(work, failure))
        return Finished()

    def open_sweep(
        self,
        trials: Sequence[Trial],
        on_event: OnEvent,
        halving: Halving | None = None,
        scores: RungScores | None = None,
    ) -> None:
        """Refuse early stopping: trials run one after the other, so none can be compared."""
        if halving is not None:
            raise SpecError([cannot_stop()])

    def close_sweep(self) -> None:
        """Every trial has ended."""

    def close(self) -> None:
        """Nothing was started."""

    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run one shared step.

        Raises:
            StepError: it failed.
        """
        resources = self.resources
        try:
            for progress in run_step(
                step,
                self.store,
                resources.teacher_cpus,
                resources.checkpoint_steps,
                spread_teacher=resources.spreads_teacher,
            ):
                on_progress(progress)
        except Exception as error:
            raise failure_of(error) from error

    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the missing chunks of a pass in order, and publish its steps.

        Raises:
            StepError: a chunk failed; the finished ones are kept.
        """
        try:
            missing = request.missing(self.store)
            spread = self.resources.spreads_teacher
            work = request.open(self.store, spread=spread) if missing else None
            for chunk in missing:
                assert work is not None
                done = work(chunk)
                if done.error:
                    raise StepError(done.error)
                on_chunk(done)
            request.publish(self.store)
        except Exception as error:
            raise failure_of(error) from error

    def _submit_pass(self, work: PassWork, on_event: OnEvent) -> None:
        total = len(work.request.missing(self.store))
        on_event(Started(work, total))
        count = ChunkCount(work, total, on_event)
        self.run_pass(work.request, count)

    def _trial(self, trial: Trial) -> Iterator[Progress]:
        worker = SoloWorker(local_device())
        return run_trial(trial.distill, trial.evaluate, self.store, worker, self.resources)


class ChunkCount:
    """Reports the chunks of a pass as progress, in the order in which they end."""

    def __init__(self, work: PassWork, total: int, on_event: Callable[[Advanced], None]) -> None:
        self._work, self._total, self._on_event = work, total, on_event
        self._done = 0

    def __call__(self, chunk: ChunkDone) -> None:
        """One more chunk has ended."""
        self._done += 1
        progress = Progress(self._done, self._total, chunk.examples)
        self._on_event(Advanced(self._work, [progress]))
