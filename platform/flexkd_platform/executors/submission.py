"""Jobs on somebody else's cluster, through Ray Jobs."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ray.exceptions import RayError
from ray.job_submission import JobDetails, JobStatus

from ..spec import JobSpec, Problem, SpecError
from ..tracking.provenance import USER, carried_provenance
from .dashboard import find_dashboard
from .entrypoint import entrypoint
from .following import LostClusterError, follow
from .inputs import Inputs
from .parcel import pack_code
from .ray_client import open_client, short

T = TypeVar("T")

POLL_SECONDS = 1.0

AGENT_ATTEMPTS = 60
"""How often, a second apart, a submission is tried while the head has no agent to take it."""

STOP_SECONDS = 60
"""What a job gets to write down what it has done; Ray kills it after 3 s unless told otherwise."""


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


class RayJobs:
    """The jobs of one cluster, by the address of its dashboard.

    Raises:
        SpecError: there is none, or it wants a token that we do not have.
    """

    def __init__(self, address: str) -> None:
        self.dashboard = find_dashboard(address)
        self.address = self.dashboard.url
        self._client = open_client(self.dashboard)

    def submit(
        self,
        spec: JobSpec,
        spec_text: str,
        arguments: Sequence[str],
        *,
        inputs: Inputs,
        user: str,
        force: bool = False,
    ) -> SubmittedJob:
        """Send a spec, its files and our code, and start `flexkd run` there.

        spec, spec_text: with the names that `inputs` travel by.
        force: even if the spec is running.

        Raises:
            SpecError: it is running, or the cluster does not take it.
        """
        with tempfile.TemporaryDirectory(prefix="flexkd-submit-") as scratch:
            folder, modules = Path(scratch, "work"), Path(scratch, "modules")
            folder.mkdir()
            modules.mkdir()
            (folder / "spec.yaml").write_text(spec_text, encoding="utf-8")
            inputs.copy_to(folder)
            provenance = carried_provenance()
            environment = {
                "RAY_USAGE_STATS_ENABLED": "0",
                "PYTHONUNBUFFERED": "1",
                "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS),
                USER: user,
                **provenance,
            }
            runtime_env = {
                "working_dir": str(folder),
                "py_modules": [str(path) for path in pack_code(modules)],
                "env_vars": environment,
            }
            metadata = {
                "flexkd.spec_hash": spec.hash,
                "flexkd.job": spec.id,
                "flexkd.user": user,
                **{f"flexkd.{name.lower()[7:]}": value for name, value in provenance.items()},
            }
            while True:
                attempt = self._next_attempt(spec, force=force)
                job_id = f"{spec.id}-{attempt}"
                taken = self._submit(
                    entrypoint=entrypoint([*arguments, "--address", "auto"]),
                    submission_id=job_id,
                    runtime_env=dict(runtime_env),
                    metadata={**metadata, "flexkd.attempt": str(attempt)},
                )
                if taken:
                    return self.status(job_id)

    def _next_attempt(self, spec: JobSpec, *, force: bool) -> int:
        """The number of the next attempt at a job.

        Raises:
            SpecError: one is running, unless that is wanted.
        """
        known = self.list()
        for job in known:
            if job.metadata["flexkd.spec_hash"] == spec.hash and not job.over and not force:
                problem = Problem(
                    "",
                    f"this spec is running already, as {job.id} ({job.status.lower()})",
                    f"follow it with `flexkd jobs logs {job.id} --follow --address "
                    f"{self.address}`, or submit it again with --force",
                )
                raise SpecError([problem])
        pattern = re.compile(rf"{re.escape(spec.id)}-(\d+)")
        attempts = [int(match[1]) for job in known if (match := pattern.fullmatch(job.id))]
        return max(attempts, default=0) + 1

    def _submit(self, **job: Any) -> bool:
        """Hand the job over; whether its id was still free.

        A head that has just started takes none for some seconds.
        """
        for attempt in range(AGENT_ATTEMPTS):
            try:
                with self._asking():
                    self._client.submit_job(**job)
                return True
            except LostClusterError as error:
                text = str(error)
            except RuntimeError as error:
                text = " ".join(str(error).split())
                if "already exists" in text:
                    return False
                if "No available agent" in text and attempt < AGENT_ATTEMPTS - 1:
                    time.sleep(POLL_SECONDS)
                    continue
            break
        problem = Problem(
            "--address",
            f"the cluster at {self.address} did not take the job: {text[-300:]}",
            "`ray status` on its head shows whether it is well",
        )
        raise SpecError([problem])

    def list(self) -> list[SubmittedJob]:
        """Our jobs, the newest first."""
        found = [_ours(details) for details in self._answer(self._client.list_jobs)]
        ours = [job for job in found if "flexkd.spec_hash" in job.metadata]
        return sorted(ours, key=lambda job: -job.started)

    def status(self, job_id: str) -> SubmittedJob:
        """One job.

        Raises:
            SpecError: the cluster knows no such job.
            LostClusterError: it does not answer.
        """
        try:
            if re.fullmatch(r"[^/?#]+", job_id):
                with self._asking():
                    return _ours(self._client.get_job_info(job_id))
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise LostClusterError(f"lost {self.address}: {short(error)}") from None
        known = ", ".join(job.id for job in self.list()[:10]) or "none"
        problem = Problem("", f"{self.address} knows no job {job_id!r}", f"known: {known}")
        raise SpecError([problem])

    def logs(self, job_id: str) -> str:
        """All that the job has printed."""
        self.status(job_id)
        return str(self._answer(lambda: self._client.get_job_logs(job_id)))

    def stop(self, job_id: str) -> bool:
        """Ask the job to end; it keeps what it has done. Whether it was running."""
        running = not self.status(job_id).over
        return bool(self._answer(lambda: self._client.stop_job(job_id))) and running

    def wait(self, job_id: str) -> SubmittedJob:
        """The job when it has ended."""
        while not (job := self.status(job_id)).over:
            time.sleep(POLL_SECONDS)
        return job

    def follow(self, job_id: str, on_trouble: Callable[[str], None]) -> Iterator[str]:
        """What the job prints, until it ends. See `following.follow`."""
        return follow(_FollowedJob(self, job_id), on_trouble)

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """What the job has printed and prints, as long as the connection lasts."""
        tail: AsyncIterator[str] = self._client.tail_job_logs(job_id)
        return tail

    def _answer(self, question: Callable[[], T]) -> T:
        """An answer of the head. One that cannot give it now, as while its agent starts again, may
        give it later.
        """
        try:
            with self._asking():
                return question()
        except RuntimeError as error:
            raise LostClusterError(f"{self.address} cannot tell: {short(error)}") from None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Tell a cluster that does not answer from one that says no."""
        try:
            yield
        except OSError as error:  # as which requests tells of everything that goes wrong on the way
            raise LostClusterError(f"lost {self.address}: {short(error)}") from None
        except RayError as error:
            raise LostClusterError(f"{self.address} lets us in no more: {short(error)}") from None
        except RuntimeError as error:
            # 500 and more: a proxy before the head, or the head, while it starts or ends.
            if re.search(r"status code 50[234]", str(error)):
                raise LostClusterError(f"lost {self.address}: {short(error)}") from None
            raise


@dataclass(frozen=True)
class _FollowedJob:
    jobs: RayJobs
    id: str

    def over(self) -> bool:
        return self.jobs.status(self.id).over

    def text(self) -> str:
        return self.jobs.logs(self.id)

    def tail(self) -> AsyncIterator[str]:
        return self.jobs.tail(self.id)


def _ours(details: JobDetails) -> SubmittedJob:
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
