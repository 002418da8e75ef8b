"""What can be told to a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from .records import JobRecord, JobStatus, StepMetrics, StoredStudent, TrialRecord


class Tracker(ABC):
    """Records a job and its trials.

    The store of artifacts is the truth; what is recorded here is a projection of it. So every
    call may be made again, after a crash or in another process: it completes what is missing
    and duplicates nothing, neither runs nor metric points. A tracker serves one job at a time,
    from one thread.
    """

    @abstractmethod
    def start_job(self, job: JobRecord) -> str:
        """Find or create the job's run, which its trials hang from; returns its id."""

    @abstractmethod
    def start_trial(self, trial: TrialRecord) -> str:
        """Find or create the run of a trial; returns its id.

        There is one run per experiment and trial hash: a trial that another job created is joined,
        and a finished one stays finished.
        """

    @abstractmethod
    def log_steps(self, trial_hash: str, rows: Sequence[StepMetrics]) -> None:
        """Record metrics of steps as they come; those already recorded are passed over.

        Raises:
            ValueError: the trial has no run; start it first.
        """

    @abstractmethod
    def finish_trial(
        self, trial: TrialRecord, *, student: StoredStudent | None, rows: Sequence[StepMetrics]
    ) -> None:
        """Complete a trial's run, started or not, from what the store holds.

        A trial that is done stays so, whatever a later attempt says.

        Args:
            trial: with its status, final metrics and, unless done, the reason.
            student: where it is kept, if there is one.
            rows: all of its step metrics; those that `log_steps` has recorded are passed over.
        """

    @abstractmethod
    def log_job_files(self, files: Mapping[str, Path]) -> None:
        """Attach files or folders to the job's run: path among its artifacts → local path.

        What is there under the same path is replaced.
        """

    @abstractmethod
    def finish_job(self, status: JobStatus, metrics: Mapping[str, float]) -> None:
        """Record the job's own metrics and end its run."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; the tracker is not used afterwards."""
