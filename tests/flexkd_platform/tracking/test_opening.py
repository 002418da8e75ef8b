"""A wrong URI is found out at once, and a right one is opened quietly in one place."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import unquote

import pytest
import sqlalchemy

from flexkd_platform.tracking import (
    MlflowTracker,
    NoTracker,
    ResilientTracker,
    TrialRecord,
    check_tracking,
    default_uri,
    open_tracker,
    shown_uri,
)
from flexkd_platform.tracking.connection import connect, patience
from flexkd_platform.tracking.redaction import without_password


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("file:///somewhere", "a folder"),
        ("/somewhere/mlruns", "a folder"),
        ("ftp://host", "of kind 'ftp'"),
        ("http://", "has no host"),
        ("http://host:port", "is not a URI"),
        ("sqlite://", "has no file path"),
        ("sqlite:///:memory:", "has no file path"),
        ("http://127.0.0.1:9", "Connection refused"),  # the discard port: nobody listens
        ("postgresql://flexkd:secret@127.0.0.1:9/mlflow", "Connection refused"),
        ("postgresql+psycopg2://flexkd:secret@127.0.0.1:9/mlflow", "Connection refused"),
        ("postgres://flexkd:secret@host/mlflow", "of kind 'postgres'"),
        ("postgresql://flexkd:secret/1@host:port/mlflow", "is not a URI"),
        ("http://flexkd:secret@127.0.0.1:9", "Connection refused"),
    ],
)
def test_what_is_wrong_is_said_in_one_problem(uri: str, said: str) -> None:
    (problem,) = check_tracking(uri)
    assert said in problem.message
    assert problem.path == "--tracking-uri"
    assert problem.remedy
    assert "secret" not in str(problem)


@pytest.mark.parametrize("password", ["plain", "a/b", "a@b", "a:b", "a%40b", "100%"])
def test_a_password_is_shown_nowhere(password: str) -> None:
    uri = f"postgresql://flexkd:{password}@host:5432/mlflow"
    assert shown_uri(uri) == "postgresql://flexkd:…@host:5432/mlflow"
    text = f"cannot connect to {uri}: {unquote(password)} is wrong"
    expected = "cannot connect to postgresql://flexkd:…@host:5432/mlflow: … is wrong"
    assert without_password(text, uri) == expected


@pytest.mark.parametrize(
    "uri", ["http://host:5000", "sqlite:////a/b@c.db", "none", "http://u@host"]
)
def test_what_has_no_password_is_shown_as_it_is(uri: str) -> None:
    assert shown_uri(uri) == uri
    assert without_password(f"about {uri}", uri) == f"about {uri}"


@pytest.fixture
def answering() -> Iterator[Callable[[int, str], str]]:
    """`answering(status, text)`: the URI of a server before MLflow's that answers so, always."""
    started = []

    def start(status: int, text: str) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST

            def log_message(self, *arguments: object) -> None:
                """Keeps the tests' output clean."""

        server = HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text", "said", "remedy"),
    [
        (401, "You are not authenticated.", "requires authentication", "MLFLOW_TRACKING_TOKEN"),
        (403, "Permission denied", "denies access to this user", "ask for the permission"),
        (403, "Invalid Host header - possible", "rejects this host name", "--allowed-hosts"),
        (502, "Bad gateway", "does not answer as a tracking store", "mlflow server"),
    ],
)
def test_a_server_that_refuses(
    answering: Callable[[int, str], str], status: int, text: str, said: str, remedy: str
) -> None:
    uri = answering(status, text)
    (problem,) = check_tracking(uri)
    assert uri in problem.message
    assert said in problem.message
    assert remedy in problem.remedy


def test_tables_of_another_mlflow(tmp_path: Path, database: str, trial: TrialRecord) -> None:
    MlflowTracker(database, "check").start_trial(trial)
    old = tmp_path / "old.db"
    shutil.copyfile(database.removeprefix("sqlite:///"), old)
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'cc1f77228345'")
    (problem,) = check_tracking(f"sqlite:///{old}")
    assert "has an incompatible database schema" in problem.message
    assert f"mlflow db upgrade sqlite:///{old}" in problem.remedy


@pytest.mark.parametrize("name", ["password", "passwd", "PWD", "api_key", "token"])
def test_a_secret_among_the_settings_is_shown_nowhere(name: str) -> None:
    uri = f"postgresql://db/mlflow?user=me&{name}=hunter%202&sslmode=require"
    shown = f"postgresql://db/mlflow?user=me&{name}=…&sslmode=require"
    assert shown_uri(uri) == shown
    assert without_password(f"no 'hunter 2' at {uri}", uri) == f"no '…' at {shown}"


def test_trouble_on_the_way_shows_no_password(
    monkeypatch: pytest.MonkeyPatch, trial: TrialRecord
) -> None:
    def fail(self: object, trial: TrialRecord) -> str:
        raise OSError("cannot reach postgresql://flexkd:secret@host/mlflow")

    monkeypatch.setattr(MlflowTracker, "start_trial", fail)
    told: list[str] = []
    uri = "postgresql://flexkd:secret@host/mlflow"
    open_tracker(uri, "x", on_trouble=told.append).start_trial(trial)
    (line,) = told
    assert "postgresql://flexkd:…@host/mlflow" in line
    assert "secret" not in line


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
    assert "not an SQLite database" in problem.message
    (problem,) = check_tracking(f"sqlite:///{other}/mlflow.db")
    assert "cannot be created" in problem.message


def test_what_is_right_has_no_problem_and_nothing_is_created(
    tmp_path: Path,
    server: Any,
    database: str,
    trial: TrialRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    MlflowTracker(database, "check").start_trial(trial)
    assert check_tracking("none") == []
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # its first answer takes a while
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
    with pytest.raises(ValueError, match="not a local folder"):
        default_uri("s3://bucket/flexkd")


def test_a_stop_in_the_middle_of_a_transaction_is_not_told_with_a_traceback(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLAlchemy gives the connection back meanwhile, and would tell what kept it from that."""
    connect(database)
    engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.QueuePool)
    connection = engine.raw_connection()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.dialect, "do_rollback", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            connection.close()
    assert caplog.records == []


def test_kinds_of_tracker(database: str) -> None:
    assert isinstance(open_tracker("none", "x"), NoTracker)
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
from flexkd_platform.tracking import StepMetrics, StoredStudent, TrialRecord
from flexkd_platform.tracking import default_uri, open_tracker
assert "mlflow" not in sys.modules, "importing the tracking must not import MLflow"
tracker = open_tracker(default_uri(sys.argv[1]), "both", log_students=True)
trial = TrialRecord("a" * 64, "ft", {}, {}, 1, "done", {"test/accuracy": 0.5}, 1.0)
import pathlib
folder = pathlib.Path(sys.argv[1], "student")
student = StoredStudent("here", "digest", lambda: folder)
tracker.finish_trial(trial, student=student, rows=[StepMetrics(1, {"loss": 1.0})])
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
