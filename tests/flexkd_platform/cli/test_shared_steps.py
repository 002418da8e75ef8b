"""Two jobs that share a teacher train it once: real processes on a disk and on an object store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from flexkd_platform.store import Store, open_store

from ..tiny_jobs import spec_json

pytestmark = pytest.mark.slow

PATIENCE = 600.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""

Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Tests of leases cover both storages; here each behaviour is shown on one of them."""
    if request.param == "disk":
        return open_store(str(tmp_path / "storage"))
    return open_store(request.getfixturevalue("s3_uri"))


@pytest.fixture
def start(material: Path, store: Store, tmp_path: Path) -> Iterator[Start]:
    """`start(name)`: a job whose teacher is that of every other, in a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def make(name: str) -> subprocess.Popen[str]:
        spec = spec_json(material) | {"name": name}
        spec["teacher"]["finetune"]["epochs"] = 60  # long enough to be stopped in
        spec["sweep"] = {"methods": [{"kind": "kd"}], "seeds": [1 + len(processes)]}
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(spec))
        command = [sys.executable, "-m", "flexkd_platform.cli", "run", str(path)]
        command += ["--storage", store.uri, "--address", "none", "--tracking-uri", "none"]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield make
    for process in processes:
        process.kill()
        process.communicate()


def stopped_in_teacher(process: subprocess.Popen[str], store: Store) -> None:
    """Stop the process while it holds the lease of the teacher and trains it."""
    end = time.monotonic() + PATIENCE
    while not any(name.startswith("teacher-") for name in store.list_folder("leases")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)
    assert store.list_folder("steps/teacher") == [], "it was stopped before its end"


def line_with(stream: IO[str] | None, text: str) -> str:
    """The next line of a stream that has a text."""
    assert stream is not None
    return next(line for line in stream if text in line)


def steps(store: Store, name: str) -> dict[str, str]:
    """How each shared kind of a job went."""
    (job,) = (job for job in store.list_folder("jobs") if job.startswith(f"{name}-"))
    found: dict[str, Any] = json.loads(store.read_file(f"jobs/{job}/results.json"))
    return {step["kind"]: step["status"] for step in found["steps"]}


@pytest.mark.parametrize("store", ["disk"], indirect=True)
def test_the_second_waits_and_says_for_whom(start: Start, store: Store) -> None:
    first = start("first")
    stopped_in_teacher(first, store)
    second = start("second")
    line = line_with(second.stdout, "waiting")
    assert line.startswith("teacher: waiting for ")
    assert f"pid {first.pid}" in line
    assert "job first-" in line
    os.kill(first.pid, signal.SIGCONT)
    assert [process.wait(PATIENCE) for process in (first, second)] == [0, 0]
    assert steps(store, "first")["teacher"] == "ran"
    assert steps(store, "second")["teacher"] == "reused"
    ran = Counter(steps(store, name)["cache"] for name in ("first", "second"))
    assert ran == {"ran": 1, "reused": 1}
    assert store.list_folder("leases") == []


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_the_second_takes_over_when_the_first_is_killed(start: Start, store: Store) -> None:
    first = start("first")
    stopped_in_teacher(first, store)
    second = start("second")
    line_with(second.stdout, "waiting")
    first.kill()
    first.wait()
    assert second.wait(PATIENCE) == 0
    assert steps(store, "second")["teacher"] == "ran"
    assert store.list_folder("leases") == []
