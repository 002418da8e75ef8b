"""A job on somebody else's cluster, as Ray Jobs tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ray.job_submission import JobDetails, JobStatus


@dataclass(frozen=True)
class SubmittedJob:
    """A job of ours on a cluster, as Ray Jobs knows it.

    message: what Ray has to say of its status. reason: why it failed, in Ray's words.
    exit_code: of its driver, None where that did not end by itself.
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
        """Whether it has ended."""
        return bool(JobStatus(self.status).is_terminal())

    @property
    def code(self) -> int:
        """The exit code of an ended job: 0, 1 or 2, as `flexkd run` has them."""
        if self.status == JobStatus.SUCCEEDED:
            return 0
        return self.exit_code if self.exit_code in {1, 2} else 1


def submitted_job(details: JobDetails) -> SubmittedJob:
    """The job of an answer of Ray's."""
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
