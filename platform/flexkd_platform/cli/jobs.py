"""`flexkd jobs`: what runs on a shared cluster, shown, followed and stopped."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from rich.table import Table

from ..spec import Problem, SpecError
from .common import err, out

if TYPE_CHECKING:
    from ..executors.submission import RayJobs, SubmittedJob

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
"""What to do about a job whose driver did not end by itself, by Ray's name of the reason."""


def list_jobs(address: str, as_json: bool) -> int:
    """Our jobs on the cluster."""
    jobs = ask(open_jobs(address).list)
    if as_json:
        print(json.dumps([asdict(job) for job in jobs]))
        return 0
    table = Table("job", "status", "user", "started")
    for job in jobs:
        started = datetime.fromtimestamp(job.started).isoformat(" ", "seconds")
        table.add_row(job.id, job.status, job.metadata.get("flexkd.user", ""), started)
    out.print(table)
    return 0


def job_status(address: str, job_id: str, as_json: bool) -> int:
    """One job's status."""
    jobs = open_jobs(address)
    job = ask(lambda: jobs.status(job_id))
    if as_json:
        print(json.dumps(asdict(job)))
    else:
        out.print(f"{job.id}: {job.status} {job.message}".rstrip(), markup=False, soft_wrap=True)
        _show_remedy(job)
    return 0


def job_logs(address: str, job_id: str, follow: bool, as_json: bool) -> int:
    """What a job has printed; with `follow`, what it prints until it ends."""
    jobs = open_jobs(address)
    if follow:
        return follow_to_the_end(jobs, job_id, {"id": job_id} if as_json else None)
    text = ask(lambda: jobs.logs(job_id))
    if as_json:
        print(json.dumps({"id": job_id, "logs": text}))
    else:
        sys.stdout.write(text)
    return 0


def stop_job(address: str, job_id: str, wait: bool, as_json: bool) -> int:
    """Ask a job to end; with `wait`, until it has."""
    jobs = open_jobs(address)
    stopped = ask(lambda: jobs.stop(job_id))
    job = ask(lambda: jobs.wait(job_id) if wait and stopped else jobs.status(job_id))
    if as_json:
        print(json.dumps({"id": job_id, "stopped": stopped, "status": job.status}))
    elif not stopped:
        out.print(f"{job_id} has ended already: {job.status}", markup=False)
    elif wait:
        out.print(f"{job_id}: {job.status}; what it has done is kept", markup=False)
    else:
        out.print(f"asked {job_id} to stop; it keeps what it has done", markup=False)
    return 0


def open_jobs(address: str) -> RayJobs:
    """The jobs of the cluster at an address.

    Raises:
        SpecError: there is none, or it does not let us in.
    """
    # Imported here: it takes a second.
    from ..executors.submission import RayJobs

    return RayJobs(address)


def follow_to_the_end(jobs: RayJobs, job_id: str, told: Mapping[str, Any] | None) -> int:
    """Show a job's log until it ends; returns its exit code.

    told: printed as JSON with the outcome, in place of the log.
    """
    from ..executors.following import LostClusterError

    again = f"flexkd jobs logs {job_id} --follow --address {jobs.address}"
    ask(lambda: jobs.status(job_id))  # one that was never there is no lost one
    ended: tuple[str, int | None] = ("unknown", None)
    try:
        for piece in jobs.follow(job_id, _warn):
            if told is None:
                sys.stdout.write(piece)
                sys.stdout.flush()
        job = jobs.status(job_id)
        ended = job.status, job.code
    except KeyboardInterrupt:
        _warn(f"stopped following; {job_id} goes on. Follow it again with `{again}`, or end it ")
        _warn(f"with `flexkd jobs stop {job_id} --address {jobs.address}`")
    except LostClusterError as error:
        _warn(f"{error}; how {job_id} ended is not known. When the cluster is back: `{again}`")
    except SpecError:
        _warn(
            f"{jobs.address} was started anew and knows {job_id} no more; what it had done is kept "
            "in the storage: submit the spec again"
        )
    status, code = ended
    if told is not None:
        print(json.dumps({**told, "status": status, "exit_code": code}))
    elif code is not None:
        out.print(f"{job_id}: {status}, exit code {code}", markup=False)
        _show_remedy(job)
    return 1 if code is None else code


def ask(question: Callable[[], T]) -> T:
    """An answer of the cluster.

    Raises:
        SpecError: it does not answer.
    """
    from ..executors.following import LostClusterError

    try:
        return question()
    except LostClusterError as error:
        remedy = "`ray status` on its head shows whether it is well"
        raise SpecError([Problem("--address", str(error), remedy)]) from None


def _show_remedy(job: SubmittedJob) -> None:
    """Why a job's driver never ran or did not end by itself, in two lines."""
    remedy = REMEDIES.get(job.reason)
    if remedy is None:
        return
    lines = [line.strip() for line in job.message.splitlines() if line.strip()]
    said = " … ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else job.reason
    _warn(f"{job.id} failed: {said[:400]}")
    _warn(f"    → {remedy}")


def _warn(text: str) -> None:
    err.print(text, markup=False)
