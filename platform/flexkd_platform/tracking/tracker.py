"""The interface of trackers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from .links import TrackedJob
from .records import JobRecord, JobStatus, StepMetrics, StoredStudent, TrialRecord


class Tracker(ABC):
    """Records a job and its trials.

    The artifact store is the source of truth; the recorded runs are a projection of it. Every call
    is idempotent, also after a crash or in another process: it completes what is missing and
    duplicates neither runs nor metric points. A tracker serves one job at a time, from one thread.
    """

    @abstractmethod
    def start_job(self, job: JobRecord) -> str:
        """Find or create the job's run, the parent of its trials' runs; returns its id."""

    @abstractmethod
    def start_trial(self, trial: TrialRecord) -> str:
        """Find or create the run of a trial; returns its id.

        There is one run per experiment and trial hash: jobs share the run of a trial, and a
        finished one stays finished.
        """

    @abstractmethod
    def log_steps(self, trial_hash: str, rows: Sequence[StepMetrics]) -> None:
        """Log metrics of training steps; those already recorded are skipped.

        Raises:
            ValueError: the trial has no run; call `start_trial` first.
        """

    @abstractmethod
    def finish_trial(
        self, trial: TrialRecord, *, student: StoredStudent | None, rows: Sequence[StepMetrics]
    ) -> None:
        """Complete a trial's run from the store, whether or not it was started.

        A trial that is done stays done, regardless of later attempts.

        Args:
            trial: with its status, final metrics and, unless done, the reason.
            student: its location, if there is one.
            rows: all of its step metrics; those that `log_steps` has recorded are skipped.
        """

    @abstractmethod
    def log_job_files(self, files: Mapping[str, Path]) -> None:
        """Log files or folders as artifacts of the job's run: artifact path → local path.

        An existing artifact with the same path is replaced.
        """

    @abstractmethod
    def finish_job(self, status: JobStatus, metrics: Mapping[str, float]) -> None:
        """Log the job's own metrics and end its run."""

    def tracked(self) -> TrackedJob | None:
        """Where the job that was started is recorded; None if nothing shows it."""
        return None

    @abstractmethod
    def close(self) -> None:
        """Close connections; the tracker must not be used afterwards."""
