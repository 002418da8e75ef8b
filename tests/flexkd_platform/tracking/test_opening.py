"""A wrong URI is found out at once, and a right one is opened quietly in one place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.tracking import (
    MemoryTracker,
    MlflowTracker,
    ResilientTracker,
    TrialRecord,
    check_tracking,
    default_uri,
    open_tracker,
)
from flexkd_platform.tracking.connection import patience


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:///somewhere", "a folder"),
        ("/somewhere/mlruns", "a folder"),
        ("ftp://host", "of kind 'ftp'"),
        ("http://", "names no host"),
        ("http://host:port", "is no URI"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("http://127.0.0.1:9", "Connection refused"),  # the discard port: nobody listens
        ("postgresql://flexkd:secret@127.0.0.1:9/mlflow", "Connection refused"),
    ],
)
def test_what_is_wrong_is_said_in_one_problem(uri: str, said: str) -> None:
    (problem,) = check_tracking(uri)
    assert said in problem.message
    assert problem.path == "--tracking-uri"
    assert problem.remedy
    assert "secret" not in str(problem)


@pytest.fixture
def hanging_up() -> Iterator[tuple[str, list[str]]]:
    """A server that closes every connection, and the list of those it got."""
    got: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):  # closed at the end of the test
                while True:
                    connection, _ = listening.accept()
                    got.append("connection")
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", got
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_a_server_that_fails_is_asked_once(hanging_up: tuple[str, list[str]]) -> None:
    uri, got = hanging_up
    (problem,) = check_tracking(uri)
    assert "does not answer" in problem.message
    assert len(got) == 1  # MLflow's own 7 retries take 4 minutes


def test_files_that_are_no_database(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database, but longer than a header")
    (problem,) = check_tracking(f"sqlite:///{other}")
    assert "no SQLite database" in problem.message
    (problem,) = check_tracking(f"sqlite:///{other}/mlflow.db")
    assert "cannot be created" in problem.message


def test_what_is_right_has_no_problem_and_nothing_is_created(
    tmp_path: Path, server: Any, database: str, trial: TrialRecord
) -> None:
    MlflowTracker(database, "check").start_trial(trial)
    assert check_tracking("none") == []
    assert check_tracking(server.uri) == []
    assert check_tracking(database) == []
    assert check_tracking(default_uri(tmp_path / "new" / "storage")) == []
    assert list(tmp_path.iterdir()) == []


def test_default_is_an_absolute_path_in_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = f"sqlite:///{tmp_path}/storage/mlflow.db"
    assert default_uri("storage") == default_uri(tmp_path / "storage") == expected
    assert default_uri(f"file://{tmp_path}/storage") == expected
    with pytest.raises(ValueError, match="no local folder"):
        default_uri("s3://bucket/flexkd")


def test_kinds_of_tracker(database: str) -> None:
    assert isinstance(open_tracker("none", "x"), MemoryTracker)
    assert isinstance(open_tracker(database, "x"), MlflowTracker)
    assert isinstance(open_tracker(database, "x", on_trouble=print), ResilientTracker)


def test_patience_ends_with_its_block_and_yields_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with patience(timeout=1, retries=0):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


RECORD = """
import sys
from flexkd_platform.tracking import StepMetrics, TrialRecord, default_uri, open_tracker
assert "mlflow" not in sys.modules, "importing the tracking must not import MLflow"
tracker = open_tracker(default_uri(sys.argv[1]), "both")
trial = TrialRecord("a" * 64, "ft", {}, {}, 1, "done", {"test/accuracy": 0.5}, 1.0)
import pathlib
student = pathlib.Path(sys.argv[1], "student")
tracker.finish_trial(trial, folder=student, rows=[StepMetrics(1, {"loss": 1.0})])
tracker.close()
"""


def test_two_processes_create_one_database_quietly_and_only_in_the_storage(
    tmp_path: Path,
) -> None:
    storage, elsewhere = tmp_path / "a storage", tmp_path / "elsewhere"
    (storage / "student").mkdir(parents=True)
    (storage / "student" / "model.bin").write_bytes(b"123")
    elsewhere.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RECORD, str(storage)],
            cwd=elsewhere,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    for process in processes:
        output, _ = process.communicate()
        assert (process.returncode, output) == (0, b"")
    assert list(elsewhere.iterdir()) == []
    artifacts = [path for path in (storage / "mlartifacts").rglob("*") if path.is_file()]
    assert [path.name for path in artifacts] == ["model.bin"]
