"""Read recorded trials of all users, through the local index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache_folder import cache_folder
from .connection import sqlite_path
from .opening import DATABASES, NONE, absolute_uri
from .records import TrialRecord
from .redaction import shown_uri
from .run_source import RunSource
from .selecting import matching
from .server_runs import ServerRuns
from .sql_runs import SqlRuns
from .trial_index import IndexedJob, open_index
from .where import Comparison, parse_where

IN_CACHE = "trials"
"""The folder of indexes in the cache folder."""


def read_trials(
    tracking_uri: str,
    *,
    experiments: Sequence[str] | None = None,
    job: str | None = None,
    user: str | None = None,
    where: str | Sequence[str] | Sequence[Comparison] = (),
    refresh: bool = False,
) -> list[TrialRecord]:
    """Read the finished trials of experiments, each hash once, ordered by method and seed.

    If a hash has several runs, one with status "done" is preferred, then the newest. Trials that
    have not ended are left out. Nothing is written to the store. Runs that did not change since
    the last call are read from a local index.

    Args:
        experiments: their names; None for all.
        job: hash or id (`<name>-<short hash>`) of a job, to read only trials that it uses.
        user: to read only trials that this user ran, or that a job of this user uses.
        where: conditions that must all hold, such as `alpha>=0.1 and user=anna`; see `where.py`.
        refresh: read everything from the store again.

    Raises:
        ValueError: nothing is recorded, or an experiment or job does not exist.
        SpecError: a condition cannot be read, or names what no trial has.
        UnreadableStoreError: a database cannot be read.
        mlflow.MlflowException: a server does not answer.
    """
    return read_recorded(
        tracking_uri,
        experiments=experiments,
        job=job,
        user=user,
        where=where,
        refresh=refresh,
    ).trials


@dataclass(frozen=True)
class Recorded:
    """What a tracking store has. job_ids: hash → id of the jobs."""

    trials: list[TrialRecord]
    job_ids: Mapping[str, str]


def read_recorded(
    tracking_uri: str,
    *,
    experiments: Sequence[str] | None = None,
    job: str | None = None,
    user: str | None = None,
    where: str | Sequence[str] | Sequence[Comparison] = (),
    refresh: bool = False,
) -> Recorded:
    """The trials of `read_trials`, and the jobs of the experiments."""
    conditions = _parsed(where)
    uri = absolute_uri(tracking_uri)
    database = sqlite_path(uri)
    if uri == NONE or (database is not None and not database.exists()):
        raise ValueError(f"nothing is recorded in {database or uri}; run a job first")
    with open_index(index_path(uri)) as index:
        known = index.update(run_source(uri), experiments, refresh=refresh)
        jobs = index.jobs(known)
        trials = list(index.trials(known, _users_of(jobs), _job_hash(jobs, job)))
    if user is not None:
        trials = [trial for trial in trials if user in trial.users]
    job_ids = {one.hash: one.id for one in jobs}
    best: dict[str, TrialRecord] = {}
    for trial in matching(trials, conditions, job_ids=job_ids):
        if _preferred(trial, best.get(trial.hash)):
            best[trial.hash] = trial
    trials = sorted(best.values(), key=lambda t: (t.method, t.group, t.seed, t.hash))
    return Recorded(trials, job_ids)


def run_source(uri: str) -> RunSource:
    """The reader of a tracking store's kind."""
    scheme = uri.partition("://")[0].split("+")[0]
    return SqlRuns(uri) if scheme == "sqlite" or scheme in DATABASES else ServerRuns(uri)


def index_path(uri: str) -> Path | None:
    """The file of a store's index. Users of a server see different runs: each has its own."""
    folder = cache_folder()
    if folder is None:
        return None
    identity = f"{shown_uri(uri)} {os.environ.get('MLFLOW_TRACKING_USERNAME', '')}"
    return folder / IN_CACHE / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite"


def _parsed(where: str | Sequence[str] | Sequence[Comparison]) -> list[Comparison]:
    parts = [where] if isinstance(where, str) else list(where)
    found = [part for part in parts if isinstance(part, Comparison)]
    return found + parse_where([part for part in parts if isinstance(part, str)])


def _users_of(jobs: Sequence[IndexedJob]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for job in jobs:
        found.setdefault(job.hash, []).append(job.user)
    return found


def _preferred(newer: TrialRecord, older: TrialRecord | None) -> bool:
    return older is None or newer.status == "done" or older.status != "done"


def _job_hash(jobs: Sequence[IndexedJob], wanted: str | None) -> str:
    """The hash of the job with this hash or id; "" if none is wanted."""
    if wanted is None:
        return ""
    for job in jobs:
        if wanted in {job.hash, job.id}:
            return job.hash
    known = ", ".join(sorted({job.id for job in jobs})) or "none"
    raise ValueError(f"no job {wanted!r}; existing: {known}")
