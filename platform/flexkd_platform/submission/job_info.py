"""A job on a shared cluster, as reported by Ray Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ray.job_submission import JobDetails, JobStatus


@dataclass(frozen=True)
class SubmittedJob:
    """A job on a cluster, as reported by Ray Jobs.

    message: Ray's description of its status. reason: Ray's error type if it failed.
    exit_code: of its driver; None if the driver did not exit by itself.
    """

    id: str
    status: str
    entrypoint: str
    message: str
    reason: str
    exit_code: int | None
    metadata: Mapping[str, str]
    started: float

    @property
    def over(self) -> bool:
        """Whether the job has ended."""
        return bool(JobStatus(self.status).is_terminal())

    @property
    def code(self) -> int:
        """The exit code of an ended job: 0, 1 or 2, with the same meaning as for `flexkd run`."""
        if self.status == JobStatus.SUCCEEDED:
            return 0
        return self.exit_code if self.exit_code in {1, 2} else 1


def submitted_job(details: JobDetails) -> SubmittedJob:
    """Convert Ray's job details."""
    failed = details.status == JobStatus.FAILED
    return SubmittedJob(
        id=details.submission_id or details.job_id or "",
        status=details.status.value,
        entrypoint=details.entrypoint,
        message=details.message or "",
        reason=(details.error_type or "") if failed else "",
        exit_code=details.driver_exit_code,
        metadata=details.metadata or {},
        started=(details.start_time or 0) / 1000,
    )
