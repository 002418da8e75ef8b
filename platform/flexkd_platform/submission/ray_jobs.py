"""Jobs on a shared cluster, through Ray Jobs."""

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

from ..cluster.code_package import pack_code
from ..cluster.dashboard import find_dashboard
from ..cluster.idle_threads import idle_threads
from ..spec import JobSpec, Problem, SpecError
from ..tracking.provenance import USER, carried_provenance
from .entrypoint import entrypoint
from .job_info import SubmittedJob, submitted_job
from .logs import LostClusterError, follow, patiently
from .ray_client import LostAnswerError, open_client, short
from .uploads import Inputs

T = TypeVar("T")

POLL_SECONDS = 1.0

AGENT_ATTEMPTS = 60
"""Attempts to submit, one second apart, while the head has no agent to accept a job."""

NUMBERS = 5
"""How many job numbers are tried if concurrent submissions use them first."""

DENIALS = 10
"""After a submission without a response: how often, one second apart, the head must not list the
job before it counts as lost. The head may still be processing it.
"""

STOP_SECONDS = 60
"""Time for a stopped job to save its results; by default Ray kills it after 3 s."""


@dataclass(frozen=True)
class Submission:
    """A submitted job: its id on the cluster, and the number of the attempt at this spec."""

    id: str
    attempt: int


class UnknownSubmissionError(Exception):
    """A job was submitted, and it could not be determined whether the cluster accepted it."""

    def __init__(self, submission: Submission, reason: str) -> None:
        super().__init__(reason)
        self.submission = submission


class RayJobs:
    """The jobs of one cluster, by the address of its dashboard.

    Raises:
        SpecError: there is no cluster, or it requires a token that we do not have.
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
        on_trouble: Callable[[str], None],
        force: bool = False,
    ) -> Submission:
        """Upload a spec, its files and our code, and start `flexkd run` on the cluster.

        spec, spec_text: with the names that `inputs` are uploaded under.
        force: submit even if the spec is already running.

        Raises:
            SpecError: the spec is already running, or the cluster rejects the job.
            UnknownSubmissionError: it is unknown whether the cluster accepted the job.
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
                **idle_threads(),
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
            tried = 0
            for _ in range(NUMBERS):
                tried = max(self._last_attempt(spec, force=force), tried) + 1
                submission = Submission(f"{spec.id}-{tried}", tried)
                taken = self._submit(
                    submission,
                    on_trouble,
                    entrypoint=entrypoint([*arguments, "--address", "auto"]),
                    runtime_env=dict(runtime_env),
                    metadata={**metadata, "flexkd.attempt": str(tried)},
                )
                if taken:
                    return submission
        raise self._not_taken(f"concurrent submissions used all {NUMBERS} numbers")

    def _last_attempt(self, spec: JobSpec, *, force: bool) -> int:
        """The number of the last attempt at a job; 0 before the first.

        Raises:
            SpecError: an attempt is running, and `force` is not set.
        """
        known = self._all()
        for job in known:
            same = job.metadata.get("flexkd.spec_hash") == spec.hash
            if same and not job.over and not force:
                problem = Problem(
                    "",
                    f"this spec is already running, as {job.id} ({job.status.lower()})",
                    f"follow it with `flexkd jobs logs {job.id} --follow --address "
                    f"{self.address}`, or submit it again with --force",
                )
                raise SpecError([problem])
        # All jobs count: an id may be in use by a job that flexkd did not submit.
        pattern = re.compile(rf"{re.escape(spec.id)}-(\d+)")
        attempts = [int(match[1]) for job in known if (match := pattern.fullmatch(job.id))]
        return max(attempts, default=0)

    def _submit(
        self, submission: Submission, on_trouble: Callable[[str], None], **job: Any
    ) -> bool:
        """Submit the job; returns whether its id was still free.

        A head that has just started accepts no jobs for some seconds.
        """
        for attempt in range(AGENT_ATTEMPTS):
            try:
                with self._asking():
                    self._client.submit_job(submission_id=submission.id, **job)
                return True
            except LostAnswerError as error:
                on_trouble(f"{error}; checking whether it accepted {submission.id}")
                return self._was_taken(submission, job["metadata"], str(error), on_trouble)
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
        raise self._not_taken(text[-300:])

    def _was_taken(
        self,
        submission: Submission,
        metadata: Mapping[str, str],
        reason: str,
        on_trouble: Callable[[str], None],
    ) -> bool:
        """Whether a job that was submitted without a response is on the cluster; False if its id
        belongs to another job.
        """
        for _ in range(DENIALS):
            try:
                found = patiently(lambda: self._find(submission.id), on_trouble)
            except LostClusterError as error:
                raise UnknownSubmissionError(submission, str(error)) from None
            if found is not None:
                return dict(found.metadata) == dict(metadata)
            time.sleep(POLL_SECONDS)
        raise self._not_taken(reason)

    def _not_taken(self, reason: str) -> SpecError:
        problem = Problem(
            "--address",
            f"the cluster at {self.address} did not accept the job: {reason}",
            "check the cluster with `ray status` on its head",
        )
        return SpecError([problem])

    def list(self) -> list[SubmittedJob]:
        """Our jobs, the newest first."""
        ours = [job for job in self._all() if "flexkd.spec_hash" in job.metadata]
        return sorted(ours, key=lambda job: -job.started)

    def _all(self) -> Sequence[SubmittedJob]:
        """All jobs of the cluster, including those that flexkd did not submit."""
        return [submitted_job(details) for details in self._answer(self._client.list_jobs)]

    def status(self, job_id: str) -> SubmittedJob:
        """The status of one job.

        Raises:
            SpecError: the cluster has no such job.
            LostClusterError: the cluster does not answer.
        """
        found = self._find(job_id)
        if found is not None:
            return found
        known = ", ".join(job.id for job in self.list()[:10]) or "none"
        problem = Problem("", f"unknown job {job_id!r} on {self.address}", f"known: {known}")
        raise SpecError([problem])

    def _find(self, job_id: str) -> SubmittedJob | None:
        """One job; None if the cluster has no such job."""
        try:
            if re.fullmatch(r"[^/?#]+", job_id):
                with self._asking():
                    return submitted_job(self._client.get_job_info(job_id))
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise LostClusterError(f"lost {self.address}: {short(error)}") from None
        return None

    def logs(self, job_id: str) -> str:
        """The complete log of the job."""
        self.status(job_id)
        return str(self._answer(lambda: self._client.get_job_logs(job_id)))

    def stop(self, job_id: str) -> bool:
        """Stop the job; finished work is kept. Returns whether it was running.

        Raises:
            SpecError: the cluster has no such job, or cannot stop jobs of its kind.
            LostClusterError: the cluster does not answer.
        """
        running = not self.status(job_id).over
        return bool(self._answer(lambda: self._stop(job_id))) and running

    def _stop(self, job_id: str) -> object:
        try:
            return self._client.stop_job(job_id)
        except RuntimeError as error:
            # A retry would get the same response.
            if re.search(r"status code 4\d\d|redirects to", str(error)):
                raise SpecError([Problem("", f"{self.address}: {short(error)}")]) from None
            raise

    def wait(self, job_id: str, on_trouble: Callable[[str], None]) -> SubmittedJob:
        """Wait for the job to end and return it; see `logs.patiently`."""
        while not (job := patiently(lambda: self.status(job_id), on_trouble)).over:
            time.sleep(POLL_SECONDS)
        return job

    def follow(self, job_id: str, on_trouble: Callable[[str], None]) -> Iterator[str]:
        """Stream the job's log until it ends. See `logs.follow`."""
        return follow(_FollowedJob(self, job_id), on_trouble)

    def tail(self, job_id: str) -> AsyncIterator[str]:
        """Stream the job's log from its beginning, as long as the connection lasts."""
        tail: AsyncIterator[str] = self._client.tail_job_logs(job_id)
        return tail

    def _answer(self, question: Callable[[], T]) -> T:
        """Query the head. If it cannot answer now, for example while its agent restarts, the error
        is a `LostClusterError`, which is retried.
        """
        try:
            with self._asking():
                return question()
        except RuntimeError as error:
            raise LostClusterError(f"{self.address} cannot answer: {short(error)}") from None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Distinguish a cluster that does not answer from one that rejects the request."""
        try:
            yield
        except LostClusterError:
            raise
        except OSError as error:  # the base class of all errors of requests
            raise LostClusterError(f"lost {self.address}: {short(error)}") from None
        except RayError as error:
            raise LostClusterError(
                f"{self.address} no longer accepts our token: {short(error)}"
            ) from None
        except RuntimeError as error:
            # 502 to 504: a proxy in front of the head, or the head while it starts or stops.
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
