"""`flexkd submit`: run a job on a shared cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..cluster.dashboard import THIS_MACHINE
from ..spec import Problem, SpecError
from ..store import StoreError, absolute_location
from ..tracking import absolute_uri, check_form, default_uri, shown_uri
from ..tracking.provenance import current_user
from .common import read_spec
from .console import out
from .jobs import UNKNOWN, ask, follow_to_the_end, open_jobs, warn
from .run import spec_text
from .uris import secret_problems

if TYPE_CHECKING:
    from ..submission.ray_jobs import RayJobs

REMEDIES = {
    "--storage": "leave it out, and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a role, "
    "on the cluster's nodes",
    "--tracking-uri": "name an MLflow server that holds the password itself; a server's own "
    "login is MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD on the cluster's nodes",
}
"""Remedies for a secret in the URI of an option."""


def submit(
    spec_path: Path,
    overrides: list[str],
    *,
    storage: str,
    tracking: str,
    address: str,
    carry: int,
    wait: bool,
    force: bool,
    as_json: bool,
) -> int:
    """Submit a spec; with `wait`, stream its log and return its exit code."""
    from ..submission.ray_jobs import UnknownSubmissionError
    from ..submission.uploads import local_inputs

    secrets = [*_secrets("--storage", storage), *_secrets("--tracking-uri", tracking)]
    spec = read_spec(spec_path, overrides, secrets)
    inputs, problems = local_inputs(spec, storage, spec_path.parent)
    problems += secrets + inputs.problems(carry)
    try:
        jobs = open_jobs(address)
    except SpecError as error:
        raise SpecError([*problems, *error.problems], str(spec_path)) from None
    problems += [
        *jobs.dashboard.problems(),
        *_storage_problems(storage, jobs),
        *_tracking_problems(tracking, storage, jobs),
    ]
    if problems:
        raise SpecError(problems, str(spec_path))
    sent = inputs.renamed(spec)
    unknown = None
    try:
        submission = ask(
            lambda: jobs.submit(
                sent,
                spec_text(sent),
                _arguments(storage, tracking),
                inputs=inputs,
                user=current_user(),
                on_trouble=warn,
                force=force,
            )
        )
    except UnknownSubmissionError as error:
        submission, unknown = error.submission, str(error)
    record: dict[str, Any] = {
        "id": submission.id,
        "spec_hash": sent.hash,
        "attempt": submission.attempt,
        "address": jobs.address,
    }
    if unknown is not None:
        look = f"flexkd jobs status {submission.id} --address {jobs.address}"
        warn(f"{unknown}; {submission.id} may be running. When the cluster is back: `{look}`")
        if as_json:
            print(json.dumps({**record, "status": UNKNOWN, "exit_code": None}))
        return 1
    if not as_json:
        out.print(f"submitted {submission.id} to {jobs.address}", markup=False, soft_wrap=True)
    if not wait:
        if as_json:
            print(json.dumps(record))
        return 0
    return follow_to_the_end(jobs, submission.id, record if as_json else None)


def _arguments(storage: str, tracking: str) -> list[str]:
    arguments = ["--storage", absolute_location(storage)]
    return [*arguments, "--tracking-uri", absolute_uri(tracking)] if tracking else arguments


def _place(jobs: RayJobs) -> str:
    near = urlsplit(jobs.address).hostname in THIS_MACHINE
    return f"another one, behind {jobs.address}" if near else jobs.address


def _storage_problems(storage: str, jobs: RayJobs) -> list[Problem]:
    """The problem of a local folder as the storage of a remote cluster. A bucket is checked by the
    job itself: it need not be reachable from here.
    """
    if not _secrets("--storage", storage):
        try:
            absolute_location(storage)
        except StoreError as error:
            remedy = "name a bucket, as s3://bucket/…, or a folder that all nodes share"
            return [Problem("--storage", str(error), remedy)]
    path = Path(storage.removeprefix("file://")).expanduser()
    if "://" in storage.removeprefix("file://") or path.is_absolute():
        return []
    if jobs.dashboard.on_this_machine:
        return []
    return [
        Problem(
            "--storage",
            f"{storage!r} is a folder of this machine, and the cluster is {_place(jobs)}",
            "give --storage s3://bucket/…, or by its absolute path a folder that all nodes share",
        )
    ]


def _tracking_problems(tracking: str, storage: str, jobs: RayJobs) -> list[Problem]:
    """The problems of the tracking URI. The job itself checks the server: it need not be reachable
    from here.
    """
    if not tracking:
        try:
            default_uri(absolute_location(storage))
        except StoreError:
            return []  # already reported for the storage
        except ValueError as error:
            remedy = "give --tracking-uri http://host:5000, or none to record nothing"
            return [Problem("--tracking-uri", str(error), remedy)]
        return []
    if problems := check_form(tracking):
        return [] if _secrets("--tracking-uri", tracking) else problems
    host = urlsplit(tracking).hostname or ""
    here = host in THIS_MACHINE or tracking.startswith("sqlite:")
    absolute = tracking.startswith("sqlite:////")  # perhaps in a folder that the nodes share
    if here and not absolute and not jobs.dashboard.on_this_machine:
        message = f"{shown_uri(tracking)} is on this machine, and the cluster is {_place(jobs)}"
        remedy = "name the server as the cluster's nodes reach it"
        return [Problem("--tracking-uri", message, remedy)]
    return []


def _secrets(option: str, uri: str) -> list[Problem]:
    """The problem of a secret in a job's arguments, which all users of the cluster can see: in
    process lists, in Ray's job table and in logs.
    """
    return secret_problems(option, uri, REMEDIES[option], "all users of the cluster would see")
