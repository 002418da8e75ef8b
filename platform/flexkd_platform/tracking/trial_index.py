"""A local index of the trials and jobs that a tracking store holds, in a SQLite file."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..spec import canonical_json
from .backend import Run
from .encoding import JOB_HASH, JOB_ID, KIND, USER, read_trial
from .records import TrialRecord
from .run_source import RunSource

VERSION = 1
"""Of the index's tables and of what they hold; a file of another version is made anew."""
LOCK_SECONDS = 60
"""How long to wait for another process that updates the index; without it, nothing is kept."""
OVERLAP = 3_600_000
"""Milliseconds that are read again: clocks of machines differ, and runs are recorded late."""
FULL_READ = 86_400_000
"""Milliseconds after which a store without signatures is read completely again."""

TABLES = """
CREATE TABLE IF NOT EXISTS experiments (
    id TEXT PRIMARY KEY, name TEXT, mark TEXT, read_at INTEGER, read_all_at INTEGER
);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, experiment TEXT, started INTEGER, kind TEXT, signature TEXT,
    settings TEXT, data TEXT
);
CREATE TABLE IF NOT EXISTS settings (id TEXT PRIMARY KEY, data TEXT);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT);
"""

KEPT = (
    "hash",
    "method",
    "params",
    "seed",
    "status",
    "metrics",
    "seconds",
    "reason",
    "users",
    "jobs",
    "tags",
)
"""The fields of a trial in `runs.data`."""


@dataclass(frozen=True)
class IndexedJob:
    """A job's run. user: who started it last."""

    hash: str
    id: str
    user: str


class TrialIndex:
    """The index of one tracking store. Within `open_index`, no other process changes it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def update(
        self, source: RunSource, names: Sequence[str] | None, *, refresh: bool = False
    ) -> dict[str, str]:
        """Read from the store what changed, and return name → id of the experiments.

        Args:
            names: of the experiments; None for all.
            refresh: read everything again.

        Raises:
            ValueError: an experiment does not exist.
        """
        # Before reading: what changes while we read is read next time.
        mark, now = source.mark(), int(time.time() * 1000)
        known = self._experiments(source, mark, refresh)
        unknown = [name for name in names or () if name not in known]
        if unknown:
            missing = ", ".join(map(repr, unknown))
            raise ValueError(f"no experiment {missing}; existing: {', '.join(sorted(known))}")
        wanted = known if names is None else {name: known[name] for name in names}
        states = {row[0]: row[1:] for row in self._database.execute("SELECT * FROM experiments")}
        stale: dict[int | None, list[str]] = {}
        for number in wanted.values():
            _, seen, read_at, all_at = states[number]
            if refresh or read_at is None or now - all_at > FULL_READ:
                stale.setdefault(None, []).append(number)
            elif not mark or seen != mark:
                stale.setdefault(read_at - OVERLAP, []).append(number)
        for since, numbers in stale.items():
            self._read(source, numbers, since, refresh)
            self._database.executemany(
                "UPDATE experiments SET mark = ?, read_at = ? WHERE id = ?",
                [(mark, now, number) for number in numbers],
            )
            if since is None:
                self._database.executemany(
                    "UPDATE experiments SET read_all_at = ? WHERE id = ?",
                    [(now, number) for number in numbers],
                )
        return wanted

    def trials(
        self,
        experiments: Mapping[str, str],
        users_of: Mapping[str, Sequence[str]],
        job: str = "",
    ) -> Iterator[TrialRecord]:
        """The finished trials of experiments, oldest first.

        Args:
            experiments: name → id.
            users_of: hash of a job → its users, who are users of its trials.
            job: hash of a job, to return only trials that it uses.
        """
        names = {number: name for name, number in experiments.items()}
        query = (
            "SELECT id, experiment, started, settings, data FROM runs "
            "WHERE kind = 'trial' AND data IS NOT NULL ORDER BY started, id"
        )
        rows = [row for row in self._database.execute(query) if row[1] in names]
        used = {row[3] for row in rows}
        found = self._database.execute("SELECT id, data FROM settings")
        settings = _loaded([row for row in found if row[0] in used])
        for row, (_, data) in zip(rows, _loaded([(r[0], r[4]) for r in rows]).items(), strict=True):
            jobs = tuple(data.pop("jobs"))
            if job and job not in jobs:
                continue
            ours = data.pop("users")
            of_jobs = [user for one in jobs for user in users_of.get(one, ())]
            trial = TrialRecord(
                **data,
                users=tuple(dict.fromkeys([*ours, *of_jobs])),
                jobs=jobs,
                settings=settings[row[3]],
                run_id=row[0],
                user=ours[0],
                job=job or next(iter(jobs), ""),
                experiment=names[row[1]],
                started=row[2] / 1000,
            )
            trial.__dict__["group"] = row[3]  # of the cached property: hashing takes a while
            yield trial

    def jobs(self, experiments: Mapping[str, str]) -> list[IndexedJob]:
        """The jobs of experiments, oldest first."""
        numbers = set(experiments.values())
        query = "SELECT experiment, data FROM runs WHERE kind = 'job' ORDER BY started, id"
        rows = [row[1] for row in self._database.execute(query) if row[0] in numbers]
        return [IndexedJob(**json.loads(data)) for data in rows]

    def _experiments(self, source: RunSource, mark: str, refresh: bool) -> dict[str, str]:
        """Name → id of all experiments; those that were deleted are dropped from the index."""
        database = self._database
        row = database.execute("SELECT value FROM facts WHERE name = 'experiments'").fetchone()
        if mark and not refresh and row == (mark,):
            return dict(database.execute("SELECT name, id FROM experiments"))
        found = source.experiments()
        database.executemany(
            "INSERT INTO experiments (id, name) VALUES (?, ?) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name",
            [(number, name) for name, number in found.items()],
        )
        numbers = set(found.values())
        gone = [
            row for row in database.execute("SELECT id FROM experiments") if row[0] not in numbers
        ]
        database.executemany("DELETE FROM experiments WHERE id = ?", gone)
        database.executemany("DELETE FROM runs WHERE experiment = ?", gone)
        database.execute("REPLACE INTO facts VALUES ('experiments', ?)", (mark,))
        return found

    def _read(
        self, source: RunSource, experiments: Sequence[str], since: int | None, refresh: bool
    ) -> None:
        known: dict[str, str] = {}
        for number in experiments:
            query = "SELECT id, signature FROM runs WHERE experiment = ?"
            known |= dict(self._database.execute(query, (number,)))
        # With --refresh no signature counts, but the runs that are gone are still found.
        compared = dict.fromkeys(known, "-") if refresh else known
        changes = source.changes(experiments, compared, since)
        self._database.executemany("DELETE FROM runs WHERE id = ?", [(i,) for i in changes.gone])
        self._keep(changes.changed)

    def _keep(self, changed: Iterable[tuple[Run, str]]) -> None:
        settings: dict[str, str] = {}
        rows = []
        for run, signature in changed:
            group, data = None, None
            if run.tags.get(KIND) == "job":
                data = _job_data(run)
            elif (trial := read_trial(run)) is not None:
                group = trial.group
                if group not in settings:
                    settings[group] = canonical_json(dict(trial.settings))
                data = json.dumps({name: getattr(trial, name) for name in KEPT})
            rows.append(
                (run.id, run.experiment, run.started, run.tags.get(KIND), signature, group, data)
            )
        self._database.executemany("REPLACE INTO settings VALUES (?, ?)", settings.items())
        self._database.executemany("REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", rows)


@contextmanager
def open_index(path: Path | None) -> Iterator[TrialIndex]:
    """Open an index, with its lock; a damaged one, or one of another version, is made anew.

    Changes are kept if the context ends without an error.

    Args:
        path: of its file; None for an index in memory. If the file cannot be used, because the
            folder is not writable or another process holds the lock, the index is in memory, too.
    """
    database = _opened(path)
    try:
        yield TrialIndex(database)
        database.commit()
    finally:
        database.close()


def _opened(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return _locked(path)
        except (sqlite3.OperationalError, OSError):
            pass  # the answer is the same without it
        except sqlite3.DatabaseError:
            path.unlink(missing_ok=True)
            return _opened(path)
    database = sqlite3.connect(":memory:")
    database.executescript(TABLES)
    return database


def _locked(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        empty = database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
        if not empty and version != VERSION:
            raise sqlite3.DatabaseError(f"version {version}")
        for statement in filter(str.strip, TABLES.split(";")):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        database.close()
        raise
    path.chmod(0o600)
    return database


def _job_data(run: Run) -> str:
    found: dict[str, Any] = {
        "hash": run.tags.get(JOB_HASH, ""),
        "id": run.tags.get(JOB_ID, ""),
        "user": run.tags.get(USER, ""),
    }
    return json.dumps(found)


def _loaded(rows: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Id → value. One text is parsed faster than many."""
    values = json.loads(f"[{','.join(row[1] for row in rows)}]")
    return {row[0]: value for row, value in zip(rows, values, strict=True)}
