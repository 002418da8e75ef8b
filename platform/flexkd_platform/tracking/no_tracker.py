"""The tracker for `--tracking-uri none`: nothing is recorded, and runs have no id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import override

from .records import JobRecord, JobStatus, StepMetrics, StoredStudent, TrialRecord
from .tracker import Tracker


class NoTracker(Tracker):
    """A tracker that records nothing."""

    @override
    def start_job(self, job: JobRecord) -> str:
        return ""

    @override
    def start_trial(self, trial: TrialRecord) -> str:
        return ""

    @override
    def log_steps(self, trial_hash: str, rows: Sequence[StepMetrics]) -> None:
        pass

    @override
    def finish_trial(
        self, trial: TrialRecord, *, student: StoredStudent | None, rows: Sequence[StepMetrics]
    ) -> None:
        pass

    @override
    def log_job_files(self, files: Mapping[str, Path]) -> None:
        pass

    @override
    def finish_job(self, status: JobStatus, metrics: Mapping[str, float]) -> None:
        pass

    @override
    def close(self) -> None:
        pass
