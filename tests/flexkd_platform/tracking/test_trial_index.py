"""The local index returns what the store holds, whatever was changed, and reads only that."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flexkd_platform.tracking import JobRecord, MlflowTracker, TrialRecord, read_trials
from flexkd_platform.tracking import trial_index as index_module
from flexkd_platform.tracking.connection import connect
from flexkd_platform.tracking.encoding import read_trial
from flexkd_platform.tracking.query import index_path
from flexkd_platform.tracking.run_source import Changes
from flexkd_platform.tracking.server_runs import ServerRuns
from flexkd_platform.tracking.sql_runs import SqlRuns

MakeTrial = Callable[..., TrialRecord]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"index {request.node.name}"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The hashes of the trials that each reading of a store found."""
    found: list[list[str]] = []
    for kind in (SqlRuns, ServerRuns):
        real = kind.changes

        def changes(self: object, *arguments: object, real: object = real) -> Changes:
            result: Changes = real(self, *arguments)  # type: ignore[operator]
            trials = [read_trial(run) for run, _ in result.changed]
            found.append([trial.hash[0] for trial in trials if trial is not None])
            return result

        monkeypatch.setattr(kind, "changes", changes)
    monkeypatch.setattr(index_module, "OVERLAP", 0)
    return found


def record(uri: str, name: str, *trials: TrialRecord) -> None:
    tracker = MlflowTracker(uri, name)
    for trial in trials:
        tracker.finish_trial(trial, student=None, rows=[])


def hashes(trials: Sequence[TrialRecord]) -> str:
    return "".join(sorted(trial.hash[0] for trial in trials))


def test_only_what_is_new_is_read(
    uri: str, name: str, make_trial: MakeTrial, reads: list[list[str]]
) -> None:
    record(uri, name, make_trial(hash="a" * 64))
    first = read_trials(uri, experiments=[name])
    record(uri, name, make_trial(hash="b" * 64, seed=7))
    second = read_trials(uri, experiments=[name])
    assert (hashes(first), hashes(second)) == ("a", "ab")
    assert reads == [["a"], ["b"]]
    assert hashes(read_trials(uri, experiments=[name], refresh=True)) == "ab"
    assert sorted(reads[-1]) == ["a", "b"]


def test_a_trial_that_another_persons_job_reuses_counts_for_both(
    uri: str,
    name: str,
    job: JobRecord,
    make_trial: MakeTrial,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = make_trial(user="ada", job="")
    record(uri, name, trial)
    assert [t.users for t in read_trials(uri, experiments=[name])] == [("ada",)]
    monkeypatch.setenv("FLEXKD_USER", "bob")
    tracker = MlflowTracker(uri, name)
    tracker.start_job(job)
    tracker.finish_trial(
        replace(trial, user="bob", job=job.hash, status="reused"), student=None, rows=[]
    )
    for user in ("ada", "bob"):
        (found,) = read_trials(uri, experiments=[name], user=user, where=f"user={user}")
        assert (found.user, found.users) == ("ada", ("ada", "bob"))
    assert read_trials(uri, experiments=[name], where="user=eve") == []


def test_a_deleted_run_is_dropped(uri: str, name: str, make_trial: MakeTrial) -> None:
    record(uri, name, make_trial(hash="a" * 64), make_trial(hash="b" * 64, seed=7))
    found = read_trials(uri, experiments=[name])
    (run_id,) = (trial.run_id for trial in found if trial.hash[0] == "a")
    connect(uri).delete_run(run_id)
    assert hashes(read_trials(uri, experiments=[name])) == "b"


@pytest.mark.usefixtures("reads")
def test_a_tag_edited_by_hand_is_found(uri: str, name: str, make_trial: MakeTrial) -> None:
    """In a database at once; on a server, which cannot say so, when all is read again."""
    record(uri, name, make_trial())
    (trial,) = read_trials(uri, experiments=[name])
    connect(uri).set_tag(trial.run_id, "team", "red")
    on_server = uri.startswith("http")
    (found,) = read_trials(uri, experiments=[name], refresh=on_server)
    assert found.tags["team"] == "red"


def test_an_unchanged_database_is_not_read(
    database: str, name: str, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(database, name, make_trial())
    first = read_trials(database, experiments=[name])

    def fail(*_: object) -> None:
        raise AssertionError("nothing has changed")

    monkeypatch.setattr(SqlRuns, "_connection", fail)
    assert read_trials(database, experiments=[name]) == first


def test_the_tables_hold_what_mlflow_returns(
    database: str, name: str, make_trial: MakeTrial
) -> None:
    metrics = {
        "test/a": float("nan"),
        "test/b": float("inf"),
        "test/c": 0.1,
        "test/d": -float("inf"),
    }
    settings = {"a": "0.5", "b": 0.5, "c": None, "d": [1, 2], "e": "ß – \U0001f600"}
    record(
        database,
        name,
        make_trial(hash="a" * 64, metrics=metrics, settings=settings),
        make_trial(hash="b" * 64, status="failed", reason="out of memory", metrics={}),
    )
    direct, asked = SqlRuns(database), ServerRuns(database)
    assert direct.experiments() == asked.experiments()
    number = direct.experiments()[name]
    ours, theirs = (
        sorted((run for run, _ in source.changes([number], {}, None).changed), key=lambda r: r.id)
        for source in (direct, asked)
    )
    assert len(ours) == 2
    for left, right in zip(ours, theirs, strict=True):
        assert repr(left.metrics) == repr({key: right.metrics[key] for key in left.metrics})
        assert left.metrics.keys() == right.metrics.keys()
        assert (left.id, left.status, left.tags, left.params) == (
            right.id,
            right.status,
            right.tags,
            right.params,
        )
        assert (left.experiment, left.started) == (right.experiment, right.started)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _noise(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def _version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript("DROP TABLE runs; PRAGMA user_version = 99")


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_cut, _noise, _version, Path.unlink, _folder])
def test_a_damaged_index_is_made_anew(
    damage: Callable[[Path], None], database: str, name: str, make_trial: MakeTrial
) -> None:
    record(database, name, make_trial())
    first = read_trials(database, experiments=[name])
    path = index_path(database)
    assert path is not None
    damage(path)
    assert read_trials(database, experiments=[name]) == first
    assert read_trials(database, experiments=[name]) == first
    if path.is_dir():
        path.rmdir()


def test_two_processes_at_once(
    database: str, name: str, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the index, the store is read without it."""
    record(database, name, make_trial())
    first = read_trials(database, experiments=[name])
    monkeypatch.setattr(index_module, "LOCK_SECONDS", 0)
    path = index_path(database)
    assert path is not None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert read_trials(database, experiments=[name]) == first


def test_an_index_is_its_owners(
    database: str, name: str, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(database, name, make_trial())
    read_trials(database, experiments=[name])
    path = index_path(database)
    assert path is not None
    assert path.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "eve")
    assert index_path(database) != path
    assert "secret" not in str(index_path("https://me:secret@host"))


def test_a_database_is_read_without_mlflow(database: str, name: str, make_trial: MakeTrial) -> None:
    record(database, name, make_trial())
    program = f"""if True:
        import sys
        from flexkd_platform.tracking import read_trials
        assert len(read_trials({database!r}, experiments=[{name!r}])) == 1
        sys.exit("mlflow" in sys.modules)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
