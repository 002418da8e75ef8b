"""`flexkd submit` and `flexkd jobs`: the same job on a shared cluster."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ..spec import FilesSource, JobSpec, PretrainedInit, Problem, SpecError, spec_with
from ..store import open_store
from ..tracking import absolute_uri
from ..tracking.provenance import current_user
from .common import out, read_spec
from .run import spec_text

if TYPE_CHECKING:
    from ..executors.submission import RayJobs


def submit(
    spec_path: Path,
    overrides: list[str],
    *,
    storage: str,
    tracking: str,
    address: str,
    wait: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Submit a spec; with `wait`, show its log and end with its exit code."""
    spec = with_absolute_paths(read_spec(spec_path, overrides))
    jobs = _ray_jobs(address)
    running = [
        job.id
        for job in jobs.list()
        if job.metadata["flexkd.spec_hash"] == spec.hash and job.status in {"PENDING", "RUNNING"}
    ]
    if running and not force:
        problem = Problem(
            "",
            f"this spec is running already, as {running[0]}",
            f"follow it with `flexkd jobs logs {running[0]} --follow --address {address}`, "
            "or submit it again with --force",
        )
        raise SpecError([problem], str(spec_path))
    arguments = ["--storage", open_store(storage).uri]
    arguments += ["--tracking-uri", absolute_uri(tracking)] if tracking else []
    job_id = jobs.submit(spec_text(spec), spec.id, spec.hash, arguments, current_user())
    if as_json:
        print(json.dumps({"id": job_id, "spec_hash": spec.hash, "address": address}))
    else:
        out.print(f"submitted {job_id} to {address}", markup=False)
    if not wait:
        return 0
    return _follow(jobs, job_id, quiet=as_json)


def with_absolute_paths(spec: JobSpec) -> JobSpec:
    """The spec with its local files and folders named from the root.

    A job runs in a folder of its own. The cluster must see these paths: they do not travel.
    """
    changes: dict[str, str] = {}
    sources = {"task.data": spec.task.data} | {
        f"task.evaluation.{name}": source for name, source in spec.task.evaluation.items()
    }
    for path, source in sources.items():
        if isinstance(source, FilesSource):
            changes[f"{path}.path"] = source.path
    model = spec.teacher.model
    if isinstance(model, str) and Path(model).expanduser().is_dir():
        changes["teacher.model"] = model
    if isinstance(spec.student.init, PretrainedInit):
        model = spec.student.init.model
        if Path(model).expanduser().is_dir():
            changes["student.init.model"] = model
    absolute = {path: str(Path(value).expanduser().resolve()) for path, value in changes.items()}
    return spec_with(spec, absolute) if absolute else spec


def list_jobs(address: str, as_json: bool) -> int:
    """Our jobs on the cluster."""
    jobs = _ray_jobs(address).list()
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
    job = _ray_jobs(address).status(job_id)
    if as_json:
        print(json.dumps(asdict(job)))
    else:
        out.print(f"{job.id}: {job.status} {job.message}".rstrip(), markup=False, soft_wrap=True)
    return 0


def job_logs(address: str, job_id: str, follow: bool) -> int:
    """What a job has printed; with `follow`, what it prints until it ends."""
    jobs = _ray_jobs(address)
    if follow:
        return _follow(jobs, job_id, quiet=False)
    sys.stdout.write(jobs.logs(job_id))
    return 0


def stop_job(address: str, job_id: str) -> int:
    """Ask a job to end."""
    _ray_jobs(address).stop(job_id)
    out.print(f"asked {job_id} to stop; it keeps what it has done", markup=False)
    return 0


def _ray_jobs(address: str) -> RayJobs:
    from ..executors.token import use_token_if_there

    use_token_if_there()
    # Imported here: it takes a second, and must come after the token.
    from ..executors.submission import RayJobs

    return RayJobs(address)


def _follow(jobs: RayJobs, job_id: str, quiet: bool) -> int:
    for piece in jobs.follow(job_id):
        if not quiet:
            sys.stdout.write(piece)
            sys.stdout.flush()
    code = jobs.exit_code(job_id)
    if not quiet:
        out.print(f"{job_id}: {jobs.status(job_id).status}, exit code {code}", markup=False)
    return code
