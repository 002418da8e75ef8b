"""A tracker whose errors never stop a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from .links import TrackedJob
from .records import JobRecord, JobStatus, StepMetrics, StoredStudent, TrialRecord
from .tracker import Tracker


class ResilientTracker(Tracker):
    """Wraps a tracker whose server may become unavailable: training continues, nothing is raised.

    The first call that fails is reported in one line, and no further call is sent, to avoid waiting
    for the server at every step. `start_job` resets this: repeating the same start and finish
    calls, from the store's artifacts, records everything that was missed.

    Attributes:
        complete: whether all calls since the last `start_job` were recorded.
    """

    def __init__(self, inner: Tracker, on_trouble: Callable[[str], None]) -> None:
        self._inner = inner
        self._on_trouble = on_trouble
        self._told = False
        self.complete = True

    @override
    def start_job(self, job: JobRecord) -> str:
        self.complete = True
        return self._try(lambda: self._inner.start_job(job))

    @override
    def start_trial(self, trial: TrialRecord) -> str:
        return self._try(lambda: self._inner.start_trial(trial))

    @override
    def log_steps(self, trial_hash: str, rows: Sequence[StepMetrics]) -> None:
        self._try(lambda: self._inner.log_steps(trial_hash, rows))

    @override
    def finish_trial(
        self, trial: TrialRecord, *, student: StoredStudent | None, rows: Sequence[StepMetrics]
    ) -> None:
        self._try(lambda: self._inner.finish_trial(trial, student=student, rows=rows))

    @override
    def log_job_files(self, files: Mapping[str, Path]) -> None:
        self._try(lambda: self._inner.log_job_files(files))

    @override
    def finish_job(self, status: JobStatus, metrics: Mapping[str, float]) -> None:
        self._try(lambda: self._inner.finish_job(status, metrics))

    @override
    def tracked(self) -> TrackedJob | None:
        return self._inner.tracked()

    @override
    def close(self) -> None:
        self._try(self._inner.close, always=True)

    def _try(self, call: Callable[[], str | None], *, always: bool = False) -> str:
        """The call's run id; "" if it has none or failed."""
        if not (self.complete or always):
            return ""
        try:
            return call() or ""
        except Exception as error:  # an error of a client library must not stop a training
            self.complete = False
            if not self._told:
                self._told = True
                self._on_trouble(one_line(error))
            return ""


def one_line(error: Exception) -> str:
    """The error as a short, one-line message."""
    text = " ".join(str(error).split()) or type(error).__name__
    shown = text if len(text) <= 200 else f"{text[:199]}…"
    return f"tracking stopped, the job continues: {shown}"
