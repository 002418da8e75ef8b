"""Tracking as a team has it: MLflow on PostgreSQL, which hands out artifacts from S3 itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flexkd_platform.tracking import TrialRecord, check_experiment, check_tracking, open_tracker

# The suite that every tracker passes, with its records and its look from outside.
from ..flexkd_platform.tracking.conftest import MlflowPlace, job, make_trial, stored, trial
from ..flexkd_platform.tracking.test_contract import *  # noqa: F403
from ..flexkd_platform.tracking.test_contract import student
from .network import Process
from .services import (
    Database,
    MakeHost,
    ObjectStorage,
    TrackingServer,
    answers,
    postgres_missing,
    start_mlflow,
)

__all__ = ["job", "make_trial", "student", "trial"]

pytestmark = pytest.mark.skipif(bool(postgres_missing()), reason=str(postgres_missing()))


ADAS = "password-of-ada-at-mlflow"


@pytest.fixture
def place(mlflow_server: TrackingServer, request: pytest.FixtureRequest) -> MlflowPlace:
    """An experiment of its own on the server."""
    return MlflowPlace(mlflow_server.uri, request.node.name)


def test_a_copy_of_a_student_goes_through_the_server_to_s3(
    mlflow_server: TrackingServer, s3: ObjectStorage, trial: TrialRecord, student: Path
) -> None:
    assert check_tracking(mlflow_server.uri) == []
    place = MlflowPlace(mlflow_server.uri, "copies")
    place.tracker(log_students=True).finish_trial(trial, student=stored(student), rows=[])
    run = place.run("trial")
    found = [key for key in s3.keys("mlflow/") if run.id in key]
    assert sorted(key.partition("/artifacts/")[2] for key in found) == [
        "student/model.safetensors",
        "student/tokenizer/vocab.txt",
    ]


@pytest.fixture(scope="module")
def other_name(
    make_host: MakeHost, postgres: Database, s3: ObjectStorage
) -> Iterator[TrackingServer]:
    """A server that answers to a name which nobody here asks it by."""
    host = make_host("mlflow-named")
    backend = postgres.create("named")
    artifacts = f"s3://{s3.bucket}/named"
    server = start_mlflow(host, backend, artifacts, s3.env, allowed_hosts="mlflow.example:5001")
    yield server
    host.stop()


def test_a_server_that_answers_to_another_name(other_name: TrackingServer) -> None:
    assert answers(f"{other_name.uri}/health"), "it is there, and refuses all but this"
    (problem,) = check_tracking(other_name.uri)
    assert "rejects this host name" in problem.message
    assert "--allowed-hosts" in problem.remedy


@pytest.fixture(scope="module")
def asks_who(
    make_host: MakeHost, postgres: Database, s3: ObjectStorage
) -> Iterator[TrackingServer]:
    """A server that lets in its administrator `ada`, and others as far as she lets them."""
    host = make_host("mlflow-asks")
    config = "[mlflow]\ndefault_permission = NO_PERMISSIONS\nadmin_username = ada\n"
    host.write("/tmp/auth.ini", f"{config}database_uri = sqlite:////tmp/auth.db\n")
    server = start_mlflow(
        host,
        postgres.create("asks"),
        f"s3://{s3.bucket}/asks",
        s3.env
        | {
            "MLFLOW_AUTH_CONFIG_PATH": "/tmp/auth.ini",
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADAS,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of sessions in browsers",
        },
        options=["--app-name=basic-auth"],
    )
    yield server
    host.stop()


def login(monkeypatch: pytest.MonkeyPatch, name: str, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def test_a_server_that_asks_who_it_is(
    asks_who: TrackingServer, trial: TrialRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nobody,) = check_tracking(asks_who.uri)
    assert "requires authentication" in nobody.message
    assert "MLFLOW_TRACKING_USERNAME" in nobody.remedy
    login(monkeypatch, "ada", "guessed-wrong-again")
    (wrong,) = check_tracking(asks_who.uri)
    assert "requires authentication" in wrong.message
    assert "guessed" not in str(wrong)
    login(monkeypatch, "ada", ADAS)
    assert check_tracking(asks_who.uri) == []
    open_tracker(asks_who.uri, "guarded").finish_trial(trial, student=None, rows=[])
    run = MlflowPlace(asks_who.uri, "guarded").run("trial")
    assert run.status == "FINISHED"
    assert ADAS not in str(run.tags)


def test_somebody_who_may_not_write_to_an_experiment(
    asks_who: TrackingServer, trial: TrialRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.server.auth.client import AuthServiceClient

    login(monkeypatch, "ada", ADAS)
    open_tracker(asks_who.uri, "adas").finish_trial(trial, student=None, rows=[])
    AuthServiceClient(asks_who.uri).create_user("guest", "password-of-a-guest")
    login(monkeypatch, "guest", "password-of-a-guest")
    told: list[str] = []
    tracker = open_tracker(asks_who.uri, "adas", on_trouble=told.append)
    tracker.finish_trial(trial, student=None, rows=[])
    assert len(told) == 1
    assert told[0].startswith("tracking stopped, the job continues: ")
    assert "password-of-a-guest" not in told[0]
    assert check_tracking(asks_who.uri) == []
    (problem,) = check_experiment(asks_who.uri, "adas")
    assert problem.path == "tracking.experiment"
    assert "denies access to the experiment 'adas'" in problem.message
    assert "--set tracking.experiment=" in problem.remedy
    assert check_experiment(asks_who.uri, "one of my own") == []


def test_a_database_asked_directly_and_with_a_wrong_password(postgres: Database) -> None:
    uri = postgres.create("direct")
    assert check_tracking(uri) == []
    wrong = uri.replace(postgres.password, "guessed-wrong")
    (problem,) = check_tracking(wrong)
    assert "rejects the URI's user and password" in problem.message
    assert "guessed-wrong" not in str(problem)
    assert f"{postgres.user}:…@{postgres.host.address}" in problem.message


def test_a_database_whose_driver_is_not_installed(postgres: Database) -> None:
    uri = postgres.create("driverless").replace("+psycopg2", "+psycopg")
    (problem,) = check_tracking(uri)
    assert "a driver that is not installed here" in problem.message
    assert "postgresql+psycopg2://" in problem.remedy


def test_a_server_that_dies_stops_tracking_and_not_the_job(
    mlflow_server: TrackingServer, trial: TrialRecord
) -> None:
    told: list[str] = []
    tracker = open_tracker(mlflow_server.uri, "dies", on_trouble=told.append)
    tracker.start_trial(trial)
    process: Process = mlflow_server.process
    process.stop()
    try:
        tracker.finish_trial(trial, student=None, rows=[])
        assert len(told) == 1
        assert told[0].startswith("tracking stopped, the job continues: ")
    finally:
        mlflow_server.restart()
    open_tracker(mlflow_server.uri, "dies").finish_trial(trial, student=None, rows=[])
    assert MlflowPlace(mlflow_server.uri, "dies").run("trial").status == "FINISHED"
