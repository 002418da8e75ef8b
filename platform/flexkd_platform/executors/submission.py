"""Jobs on somebody else's cluster, through Ray Jobs."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.exceptions import RayError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from ..spec import Problem, SpecError
from ..tracking.provenance import carried_provenance

PACKAGES = ("flexkd_core", "flexkd_platform", "flexkd_dashboards")
"""What travels in the runtime environment: a cluster needs our dependencies, not our code."""

POLL_SECONDS = 1.0

AGENT_ATTEMPTS = 60
"""How often, a second apart, a submission is tried while the head has no agent to take it."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job of ours on a cluster, as Ray Jobs knows it."""

    id: str
    status: str
    entrypoint: str
    message: str
    metadata: Mapping[str, str]
    started: float


class RayJobs:
    """The jobs of one cluster, by the address of its dashboard.

    Raises:
        SpecError: there is none, it wants a token, or its Ray version is another.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        # Ray tells of every package it uploads; what matters of it raises.
        logging.getLogger("ray").setLevel(logging.WARNING)
        try:
            self._client = JobSubmissionClient(address)
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise SpecError([_connection_problem(address, error)]) from None

    def submit(
        self, spec_text: str, name: str, spec_hash: str, arguments: Sequence[str], user: str
    ) -> str:
        """Send a spec and our code, start `flexkd run` there; returns the submission's id.

        Attempts of one job are numbered: Ray never takes an id twice.
        """
        with _parcel(spec_text) as (folder, packages):
            command = ["-m", "flexkd_platform.cli", "run", "spec.yaml"]
            environment = {
                "RAY_USAGE_STATS_ENABLED": "0",
                "PYTHONUNBUFFERED": "1",
                **carried_provenance(),
            }
            return self._submit(
                entrypoint=_with_rays_python([*command, "--address", "auto", *arguments]),
                submission_id=f"{name}-{self._attempt(name)}",
                runtime_env={
                    "working_dir": str(folder),
                    "py_modules": packages,
                    "env_vars": environment,
                },
                metadata={"flexkd.spec_hash": spec_hash, "flexkd.user": user},
            )

    def _submit(self, **job: Any) -> str:
        """Hand the job over; a head that has just started takes none for some seconds."""
        for attempt in range(AGENT_ATTEMPTS):
            try:
                return str(self._client.submit_job(**job))
            except RuntimeError as error:
                text = " ".join(str(error).split())[:300]
                if "No available agent" not in text or attempt == AGENT_ATTEMPTS - 1:
                    break
                time.sleep(POLL_SECONDS)
        problem = Problem(
            "--address",
            f"the cluster at {self.address} did not take the job: {text}",
            "`ray status` on its head shows whether it is well",
        )
        raise SpecError([problem])

    def _attempt(self, name: str) -> int:
        known = {job.id for job in self.list()}
        attempt = 1
        while f"{name}-{attempt}" in known:
            attempt += 1
        return attempt

    def list(self) -> list[SubmittedJob]:
        """Our jobs, the newest first."""
        found = [_ours(details) for details in self._client.list_jobs()]
        ours = [job for job in found if "flexkd.spec_hash" in job.metadata]
        return sorted(ours, key=lambda job: -job.started)

    def status(self, job_id: str) -> SubmittedJob:
        """One job.

        Raises:
            SpecError: the cluster knows no such job.
        """
        try:
            return _ours(self._client.get_job_info(job_id))
        except RuntimeError:
            known = ", ".join(job.id for job in self.list()) or "none"
            problem = Problem("", f"{self.address} knows no job {job_id!r}", f"known: {known}")
            raise SpecError([problem]) from None

    def logs(self, job_id: str) -> str:
        """All that the job has printed."""
        self.status(job_id)
        return str(self._client.get_job_logs(job_id))

    def stop(self, job_id: str) -> None:
        """Ask the job to end; it keeps what it has done."""
        self.status(job_id)
        self._client.stop_job(job_id)

    def follow(self, job_id: str) -> Iterator[str]:
        """What the job prints, as it prints it, until it ends.

        A tail may end while the job goes on (a proxy's limit, a lost connection): it is taken up
        again where it was.
        """
        shown = 0
        while True:
            over = self.status(job_id).status in _terminal()
            text = self._client.get_job_logs(job_id)
            if len(text) > shown:
                yield text[shown:]
                shown = len(text)
            if over:
                return
            for piece in self._tail(job_id, shown):
                yield piece
                shown += len(piece)
            time.sleep(POLL_SECONDS)

    def _tail(self, job_id: str, shown: int) -> Iterator[str]:
        """The live tail from the `shown`-th character on; ends with the connection."""
        tail = self._client.tail_job_logs(job_id)
        loop = asyncio.new_event_loop()
        skip = shown
        try:
            while True:
                try:
                    piece: str = loop.run_until_complete(anext(tail))
                except (StopAsyncIteration, ConnectionError, RuntimeError):
                    return
                fresh = piece[skip:]
                skip = max(0, skip - len(piece))
                if fresh:
                    yield fresh
        finally:
            loop.close()

    def exit_code(self, job_id: str) -> int:
        """The exit code of an ended job: 0, 1 or 2, as `flexkd run` has them."""
        details = self._client.get_job_info(job_id)
        if details.status == JobStatus.SUCCEEDED:
            return 0
        code = details.driver_exit_code
        return code if code in {1, 2} else 1


def _with_rays_python(arguments: Sequence[str]) -> str:
    """A shell command that runs `arguments` with a Python that has Ray.

    An entrypoint gets the head's PATH, which names the right Python only where the environment was
    activated before `ray start`; on this machine our own is right.
    """
    has_ray = "import importlib.util as u, sys; sys.exit(not u.find_spec('ray'))"
    candidates = shlex.join(["python", "python3", sys.executable])
    test = shlex.join(["-c", has_ray])
    return (
        f'for p in {candidates}; do "$p" {test} 2>/dev/null && break; done; '
        f'exec "$p" {shlex.join(arguments)}'
    )


def _terminal() -> set[str]:
    return {status.value for status in JobStatus if status.is_terminal()}


def _ours(details: JobDetails) -> SubmittedJob:
    return SubmittedJob(
        id=details.submission_id or details.job_id or "",
        status=details.status.value,
        entrypoint=details.entrypoint,
        message=details.message or "",
        metadata=details.metadata or {},
        started=(details.start_time or 0) / 1000,
    )


@contextmanager
def _parcel(spec_text: str) -> Iterator[tuple[Path, list[str]]]:
    """The spec in a folder of its own, and our packages without caches of bytecode."""
    with tempfile.TemporaryDirectory(prefix="flexkd-submit-") as scratch:
        folder = Path(scratch, "work")
        folder.mkdir()
        (folder / "spec.yaml").write_text(spec_text, encoding="utf-8")
        packages = []
        for package in PACKAGES:
            found = importlib.util.find_spec(package)
            assert found is not None
            assert found.submodule_search_locations
            source = Path(found.submodule_search_locations[0])
            target = Path(scratch, "modules", package)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            packages.append(str(target))
        yield folder, packages


def _connection_problem(address: str, error: Exception) -> Problem:
    text = " ".join(str(error).split())
    if "401" in text or "403" in text or "nauthenticated" in text or "token" in text.lower():
        return Problem(
            "--address",
            f"the cluster at {address} wants a token",
            "put it into ~/.ray/auth_token (mode 0600), or name its file in RAY_AUTH_TOKEN_PATH",
        )
    return Problem(
        "--address",
        f"no Ray cluster answers at {address}: {text[:160]}",
        "give the dashboard's address, as http://127.0.0.1:8265, of a running head",
    )
