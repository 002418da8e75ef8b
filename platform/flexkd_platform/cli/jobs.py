"""`flexkd jobs`: list, follow and stop jobs on a shared cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table
from rich.text import Text

from ..spec import Problem, SpecError
from .console import err, out

if TYPE_CHECKING:
    from ..submission.job_info import SubmittedJob
    from ..submission.ray_jobs import RayJobs

T = TypeVar("T")

NO_ROOM = "the head had no room for the driver: `ray status` shows what runs; then submit again"
BROKEN = "look at `ray status` and the logs of the head; then submit again"

REMEDIES = {
    "RUNTIME_ENV_SETUP_FAILURE": "look at runtime_env_setup-*.log on the head, and whether its "
    "disk is full; then submit again",
    "JOB_SUPERVISOR_ACTOR_START_TIMEOUT": NO_ROOM,
    "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE": NO_ROOM,
    "JOB_SUPERVISOR_ACTOR_DIED": "the head restarted or ran out of memory; what was done is kept, "
    "submit again",
    "JOB_SUPERVISOR_ACTOR_START_FAILURE": BROKEN,
    "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE": BROKEN,
    "JOB_ENTRYPOINT_COMMAND_START_ERROR": BROKEN,
}
"""Remedies for a job whose driver did not end by itself, by Ray's error type."""


UNKNOWN = "unknown"
"""The status of a job on a cluster that does not answer."""


def list_jobs(address: str, as_json: bool) -> int:
    """Print the flexkd jobs on the cluster."""
    jobs = ask(open_jobs(address).list)
    if as_json:
        print(json.dumps([asdict(job) for job in jobs]))
        return 0
    table = Table("job", "status", "user", "started")
    for job in jobs:
        started = datetime.fromtimestamp(job.started).isoformat(" ", "seconds")
        row = (job.id, job.status, job.metadata.get("flexkd.user", ""), started)
        table.add_row(*map(Text, row))  # a name such as DOMAIN[red]x must not be parsed as markup
    out.print(table)
    return 0


def job_status(address: str, job_id: str, as_json: bool) -> int:
    """Print the status of one job."""
    jobs = open_jobs(address)
    job = ask(lambda: jobs.status(job_id))
    if as_json:
        print(json.dumps(asdict(job)))
    else:
        out.print(f"{job.id}: {job.status} {job.message}".rstrip(), markup=False, soft_wrap=True)
        _show_remedy(job)
    return 0


def job_logs(address: str, job_id: str, follow: bool, as_json: bool) -> int:
    """Print the log of a job; with `follow`, stream it until the job ends."""
    jobs = open_jobs(address)
    if follow:
        ask(lambda: jobs.status(job_id))  # an unknown job is an error, not a lost connection
        return follow_to_the_end(jobs, job_id, {"id": job_id} if as_json else None)
    text = ask(lambda: jobs.logs(job_id))
    if as_json:
        print(json.dumps({"id": job_id, "logs": text}))
    else:
        sys.stdout.write(text)
    return 0


def stop_job(address: str, job_id: str, wait: bool, as_json: bool) -> int:
    """Stop a job; with `wait`, wait until it has ended."""
    from ..submission.logs import LostClusterError, patiently

    jobs = open_jobs(address)
    stopped: bool | None = None
    status = UNKNOWN
    try:
        stop = partial(jobs.stop, job_id)
        stopped = patiently(stop, warn) if wait else ask(stop)
        status = (jobs.wait(job_id, warn) if wait and stopped else jobs.status(job_id)).status
    except LostClusterError as error:
        done = {None: "may be stopping", True: "is stopping", False: "had already ended"}[stopped]
        warn(
            f"{error}; {job_id} {done}; its final status is unknown. When the cluster is back: "
            f"`flexkd jobs status {job_id} --address {jobs.address}`"
        )
    except SpecError:
        if stopped is None:
            raise
        warn(_started_anew(jobs, job_id))
    if as_json:
        print(json.dumps({"id": job_id, "stopped": stopped, "status": status}))
    elif status == UNKNOWN:
        pass
    elif not stopped:
        out.print(f"{job_id} has already ended: {status}", markup=False)
    elif wait:
        out.print(f"{job_id}: {status}; finished work is kept", markup=False)
    else:
        out.print(f"stopping {job_id}; finished work is kept", markup=False)
    return 1 if status == UNKNOWN else 0


def open_jobs(address: str) -> RayJobs:
    """The jobs of the cluster at an address.

    Raises:
        SpecError: there is no cluster, or it denies access.
    """
    # Imported here: the import takes a second.
    from ..submission.ray_jobs import RayJobs

    return RayJobs(address)


def follow_to_the_end(jobs: RayJobs, job_id: str, told: Mapping[str, Any] | None) -> int:
    """Stream a job's log until it ends; returns its exit code.

    told: if given, printed as JSON with the outcome in place of the log.
    """
    from ..submission.logs import LostClusterError, patiently

    again = f"flexkd jobs logs {job_id} --follow --address {jobs.address}"
    ended: tuple[str, int | None] = (UNKNOWN, None)
    try:
        for piece in jobs.follow(job_id, warn):
            if told is None:
                sys.stdout.write(piece)
                sys.stdout.flush()
        job = patiently(lambda: jobs.status(job_id), warn)
        ended = job.status, job.code
    except KeyboardInterrupt:
        warn(f"stopped following; {job_id} continues. Follow it again with `{again}`, or stop it ")
        warn(f"with `flexkd jobs stop {job_id} --address {jobs.address}`")
    except LostClusterError as error:
        warn(
            f"{error}; the final status of {job_id} is unknown. When the cluster is back: `{again}`"
        )
    except SpecError:
        warn(_started_anew(jobs, job_id))
    status, code = ended
    if told is not None:
        print(json.dumps({**told, "status": status, "exit_code": code}))
    elif code is not None:
        out.print(f"{job_id}: {status}, exit code {code}", markup=False)
        _show_remedy(job)
    return 1 if code is None else code


def ask(question: Callable[[], T]) -> T:
    """Send a request to the cluster.

    Raises:
        SpecError: the cluster does not answer.
    """
    from ..submission.logs import LostClusterError

    try:
        return question()
    except LostClusterError as error:
        remedy = "check the cluster with `ray status` on its head"
        raise SpecError([Problem("--address", str(error), remedy)]) from None


def _started_anew(jobs: RayJobs, job_id: str) -> str:
    return (
        f"{jobs.address} was restarted and no longer has job {job_id}; finished work is kept in "
        "the storage: submit the spec again"
    )


def _show_remedy(job: SubmittedJob) -> None:
    """Print why a job's driver never ran or did not end by itself, in two lines."""
    remedy = REMEDIES.get(job.reason)
    if remedy is None:
        return
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    reason = " … ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else job.reason
    warn(f"{job.id} failed: {reason[:400]}")
    warn(f"    → {remedy}")


def warn(text: str) -> None:
    """Print a line on stderr, without markup."""
    err.print(text, markup=False)
