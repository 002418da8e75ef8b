"""The reference executor: runs work in this process, one item at a time, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ..cluster import Capacity
from ..plan import Step, Trial
from ..spec import SpecError
from ..steps import ChunkDone, ChunkedPass, run_step, run_trial
from ..tracking import Progress
from .early_stopping import Halving, RungScores, cannot_stop
from .executor import Executor
from .progress_batches import bundled
from .system_metrics import observed
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
    """The handle of work that has already ended."""

    def cancel(self) -> None:
        """Do nothing: the work has ended."""


class InProcessExecutor(Executor):
    """Runs without Ray: one scoring worker and one trial worker, regardless of the spec."""

    name = "in-process"

    def capacity(self) -> Capacity:
        """This machine's CPUs."""
        return Capacity.of_machine()

    def concurrent_trials(self) -> int:
        """One."""
        return 1

    def has_room(self, work: Work, running: Collection[Work]) -> bool:
        """Whether nothing else is running."""
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
                for bundle in bundled(observed(self._trial(work.trial))):
                    on_event(Advanced(work, bundle))
        except Exception as error:  # a failed step does not stop work that does not depend on it
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
        """Reject early stopping: trials run sequentially, so they cannot be compared."""
        if halving is not None:
            raise SpecError([cannot_stop()])

    def close_sweep(self) -> None:
        """Do nothing: every trial has ended."""

    def close(self) -> None:
        """Do nothing: there are no resources to release."""

    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run one shared step.

        Raises:
            StepError: the step failed.
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
            StepError: a chunk failed; finished chunks are kept.
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
        # A job whose trials are all published should not wait for torch.
        from ..training import SoloWorker, local_device

        worker = SoloWorker(local_device())
        return run_trial(trial.distill, trial.evaluate, self.store, worker, self.resources)


class ChunkCount:
    """Reports the chunks of a pass as progress, in the order in which they finish."""

    def __init__(self, work: PassWork, total: int, on_event: Callable[[Advanced], None]) -> None:
        self._work, self._total, self._on_event = work, total, on_event
        self._done = 0

    def __call__(self, chunk: ChunkDone) -> None:
        """Report one more finished chunk."""
        self._done += 1
        progress = Progress(self._done, self._total, chunk.examples)
        self._on_event(Advanced(self._work, [progress]))
