"""Places to record in, each with an independent look at what was recorded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.tracking import (
    DatasetRecord,
    JobRecord,
    MlflowTracker,
    ResilientTracker,
    StoredStudent,
    Tracker,
    TrialRecord,
)

from ..memory_tracker import MemoryRun, MemoryTracker

START_SECONDS = 120  # a server imports for 5 to 20 seconds on two busy cores


@dataclass(frozen=True)
class SeenRun:
    id: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: list[tuple[str, int, float]]  # sorted
    artifacts: Mapping[str, int]
    digests: list[str]


class Place:
    """Somewhere to record; every `tracker()` is like that of a new process."""

    def tracker(self, *, log_students: bool = False) -> Tracker:
        raise NotImplementedError

    def runs(self, kind: str) -> list[SeenRun]:
        raise NotImplementedError

    def run(self, kind: str) -> SeenRun:
        (run,) = self.runs(kind)
        return run


def stored(folder: Path) -> StoredStudent:
    """A student in a storage that is this folder."""
    return StoredStudent(f"s3://team/{folder.name}", "d" * 64, lambda: folder)


class MemoryPlace(Place):
    def __init__(self) -> None:
        self.kept: list[MemoryRun] = []

    def tracker(self, *, log_students: bool = False) -> Tracker:
        return MemoryTracker(self.kept, log_students=log_students)

    def runs(self, kind: str) -> list[SeenRun]:
        return [
            SeenRun(
                run.id,
                run.status,
                dict(run.tags),
                dict(run.params),
                sorted((p.key, p.step, p.value) for p in run.points),
                dict(run.artifacts),
                list(run.datasets),
            )
            for run in self.kept
            if run.tags["flexkd.kind"] == kind
        ]


class ResilientPlace(MemoryPlace):
    def tracker(self, *, log_students: bool = False) -> Tracker:
        return ResilientTracker(super().tracker(log_students=log_students), pytest.fail)


class MlflowPlace(Place):
    def __init__(self, uri: str, experiment: str) -> None:
        self.uri, self.experiment = uri, experiment

    def tracker(self, *, log_students: bool = False) -> Tracker:
        return MlflowTracker(self.uri, self.experiment, log_students=log_students)

    def runs(self, kind: str) -> list[SeenRun]:
        from mlflow import MlflowClient

        client = MlflowClient(self.uri)
        experiment = client.get_experiment_by_name(self.experiment)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id], f"tags.`flexkd.kind` = '{kind}'")
        seen = []
        for run in found:
            histories = [client.get_metric_history(run.info.run_id, k) for k in run.data.metrics]
            seen.append(
                SeenRun(
                    run.info.run_id,
                    run.info.status,
                    run.data.tags,
                    run.data.params,
                    sorted((m.key, m.step, m.value) for history in histories for m in history),
                    _artifacts(client, run.info.run_id, None),
                    [i.dataset.digest for i in run.inputs.dataset_inputs] if run.inputs else [],
                )
            )
        return seen


def _artifacts(client: Any, run_id: str, path: str | None) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in client.list_artifacts(run_id, path):
        if entry.is_dir:
            found |= _artifacts(client, run_id, entry.path)
        else:
            found[entry.path] = entry.file_size
    return found


class Server:
    """An `mlflow server` on a port of its own, with SQLite behind it; it can die and come back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            # A session of its own: the server's workers end with it.
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **quiet},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail((self.folder / "server.log").read_text()[-2000:])
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mortal_server(server: Server) -> Iterator[Server]:
    """The server, to be stopped and started; the tests that follow find it running."""
    yield server
    server.start()


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One for all tests, each with an experiment of its own: creating one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('tracking') / 'mlflow.db'}"


@pytest.fixture(params=["memory", "resilient", "sqlite", "server"])
def place(request: pytest.FixtureRequest) -> Place:
    if request.param in {"memory", "resilient"}:
        return MemoryPlace() if request.param == "memory" else ResilientPlace()
    if request.param == "sqlite":
        return MlflowPlace(request.getfixturevalue("database"), request.node.name)
    return MlflowPlace(request.getfixturevalue("server").uri, request.node.name)


TRIAL = TrialRecord(
    hash="a" * 64,
    method="flexkd",
    params={"alpha": 0.5},
    settings={"method.kind": "flexkd", "method.alpha": 0.5, "distill.learning_rate": 3e-4},
    seed=10,
    status="done",
    metrics={"test/accuracy": 0.8125, "test/f1": 0.75},
    seconds=12.5,
    job="1" * 64,
    user="ada",
)

JOB = JobRecord(
    hash="1" * 64,
    id="quickstart-11111111",
    name="quickstart",
    experiment="quickstart",
    spec_yaml="name: quickstart\n",
    tags={"team": "language"},
    dataset=DatasetRecord(
        name="movie-reviews",
        source="builtin:movie-reviews",
        digest="d" * 64,
        sizes={"train": 3000, "validation": 500, "test": 1500},
        profile={"classes": 2},
    ),
)


@pytest.fixture
def make_trial() -> Callable[..., TrialRecord]:
    return lambda **changes: replace(TRIAL, **changes)


@pytest.fixture
def trial() -> TrialRecord:
    return TRIAL


@pytest.fixture
def job() -> JobRecord:
    return JOB


@pytest.fixture(params=["sqlite", "server"])
def uri(request: pytest.FixtureRequest) -> str:
    """A tracking store of each kind that is read in its own way."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("database"))
    return str(request.getfixturevalue("server").uri)
