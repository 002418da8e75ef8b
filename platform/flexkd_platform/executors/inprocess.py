"""Everything in this process, one thing after the other: the reference to debug with."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

from ..cluster.capacity import Capacity
from ..plan import Step, Trial
from ..spec import SpecError
from ..steps import ChunkDone, ChunkedPass, run_step, run_trial
from ..training import Progress, SoloWorker, local_device
from .early_stopping import Halving, Scores, cannot_stop
from .executor import Executor, StepError, TrialListener


class InProcessExecutor(Executor):
    """No Ray at all. One scoring worker and one trial worker, whatever the spec asks for."""

    name = "in-process"

    def capacity(self) -> Capacity:
        """This machine's CPUs."""
        return Capacity.of_machine()

    def concurrent_trials(self) -> int:
        """One."""
        return 1

    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run the step here."""
        try:
            for progress in run_step(
                step,
                self.store,
                self.resources.teacher_cpus,
                self.resources.checkpoint_steps,
                spread_teacher=self.resources.spreads_teacher,
            ):
                on_progress(progress)
        except Exception as error:
            raise failure_of(error) from error

    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the chunks in order."""
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
        except StepError:
            raise
        except Exception as error:
            raise failure_of(error) from error

    def trials(
        self,
        trials: Sequence[Trial],
        listener: TrialListener,
        halving: Halving | None = None,
        scores: Scores | None = None,
    ) -> None:
        """Run the trials one after the other, so that there is nothing to decide between them."""
        if halving is not None:
            raise SpecError([cannot_stop()])
        for trial in trials:
            listener.started(trial)
            failure = None
            try:
                for progress in run_trial(
                    trial.distill,
                    trial.evaluate,
                    self.store,
                    SoloWorker(local_device()),
                    self.resources,
                ):
                    listener.progressed(trial, [progress])
            except Exception as error:  # a failing trial must not take the others with it
                failure = failure_of(error)
            listener.ended(trial, failure)

    def close(self) -> None:
        """Nothing was started."""


def failure_of(error: Exception) -> StepError:
    """What went wrong, with the traceback kept for the log."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, ValueError | FloatingPointError):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    return StepError(message, "".join(traceback.format_exception(error)))
