"""Read recorded trials of all users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .connection import connect, patience, sqlite_path
from .encoding import JOB_HASH, JOB_ID, JOBS, KIND, USER, read_trial
from .mlflow_tracker import run_of
from .opening import NONE, absolute_uri
from .records import TrialRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

PAGE = 1000
"""Runs per request."""


def read_trials(
    uri: str,
    *,
    experiments: Sequence[str] | None,
    job: str | None = None,
    user: str | None = None,
) -> list[TrialRecord]:
    """Read the finished trials of experiments, each hash once, ordered by method and seed.

    If a hash has several runs, one with status "done" is preferred, then the newest. Trials that
    have not ended are left out. Nothing is written.

    Args:
        experiments: their names; None for all.
        job: hash or id (`<name>-<short hash>`) of a job, to read only trials that it uses.
        user: to read only trials that this user ran.

    Raises:
        ValueError: nothing is recorded, or an experiment or job does not exist.
        mlflow.MlflowException: the store does not answer.
    """
    database = sqlite_path(absolute_uri(uri))
    if uri == NONE or (database is not None and not database.exists()):
        raise ValueError(f"nothing is recorded in {database or uri}; run a job first")
    client = connect(absolute_uri(uri))
    with patience():
        ids = _experiment_ids(client, experiments)
        job_hash = "" if job is None else _job_hash(client, ids, job)
        query = f"tags.`{KIND}` = 'trial'"
        if job_hash:
            query += f" and tags.`{JOBS}` LIKE '%{job_hash}%'"
        if user is not None:
            query += f" and tags.`{USER}` = {_quoted(user)}"
        best: dict[str, TrialRecord] = {}
        for run in _search(client, ids, query):
            trial = read_trial(run_of(run), job_hash)
            if trial is not None and _preferred(trial, best.get(trial.hash)):
                best[trial.hash] = trial
    return sorted(best.values(), key=lambda t: (t.method, t.group, t.seed, t.hash))


def _preferred(newer: TrialRecord, older: TrialRecord | None) -> bool:
    return older is None or newer.status == "done" or older.status != "done"


def _experiment_ids(client: MlflowClient, names: Sequence[str] | None) -> list[str]:
    known: dict[str, str] = {}
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        known |= {experiment.name: experiment.experiment_id for experiment in page}
        token = page.token
        if not token:
            break
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(
            f"no experiment {', '.join(map(repr, unknown))}; existing: {', '.join(sorted(known))}"
        )
    return list(known.values()) if names is None else [known[name] for name in names]


def _job_hash(client: MlflowClient, ids: list[str], job: str) -> str:
    """The hash of the job with this hash or id."""
    known: list[str] = []
    for run in _search(client, ids, f"tags.`{KIND}` = 'job'"):
        tags = run.data.tags
        if job in {tags.get(JOB_HASH), tags.get(JOB_ID)}:
            return str(tags[JOB_HASH])
        known.append(tags.get(JOB_ID, ""))
    raise ValueError(f"no job {job!r}; existing: {', '.join(sorted(set(known))) or 'none'}")


def _search(client: MlflowClient, ids: list[str], query: str) -> Iterator[MlflowRun]:
    """All runs that match a query, oldest first."""
    token: str | None = None
    while ids:
        page = client.search_runs(
            ids,
            query,
            max_results=PAGE,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _quoted(text: str) -> str:
    """Quote a string for MLflow's query language, which has two quote characters and no escape."""
    quote = '"' if "'" in text else "'"
    if quote in text:
        raise ValueError(f"{text!r} contains both quote characters, which MLflow cannot search for")
    return f"{quote}{text}{quote}"
