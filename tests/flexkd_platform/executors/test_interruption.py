"""The real command on a Ray of its own: stopped, killed; and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import psutil
import pytest

from flexkd_platform.store import Store

from ..tiny_jobs import PlanOf, SpecOf, StoreWith, spec_json

pytestmark = pytest.mark.ray

SEEDS = list(range(1, 17))

PATIENCE = 600.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""


SWEEP = {"sweep": {"methods": [{"kind": "ft"}], "seeds": SEEDS}}
"""Sixteen trials, one after the other."""


@pytest.fixture
def spec_file(material: Path, tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    resources = {"resources": {"max_concurrent_trials": 1}}
    path.write_text(json.dumps(spec_json(material) | SWEEP | resources))
    return path


@pytest.fixture
def store(spec_of: SpecOf, plan_of: PlanOf, store_with: StoreWith) -> Store:
    """A storage in which all but the trials is done."""
    return store_with(plan_of(spec_of(**SWEEP)))


def start(
    spec: Path, store: Store, address: str, workers: Mapping[str, str]
) -> subprocess.Popen[str]:
    """The command in a process of its own. workers: how Ray is to start them; see tests/forks."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-m", "flexkd_platform.cli", "run", str(spec)]
    return subprocess.Popen(
        [*command, "--storage", store.uri, "--address", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | workers,
        # As in a terminal of its own: Ctrl-C there reaches the whole process group.
        start_new_session=True,
    )


def started_by(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for(process: subprocess.Popen[str], found: Callable[[], bool]) -> None:
    """Wait until the running process has brought something about."""
    end = time.monotonic() + PATIENCE
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def results(store: Store) -> dict[str, Any]:
    (job,) = store.list_folder("jobs")
    found: dict[str, Any] = json.loads(store.read_file(f"jobs/{job}/results.json"))
    return found


def ledger(store: Store) -> list[Mapping[str, Any]]:
    (job,) = store.list_folder("jobs")
    return [json.loads(x) for x in store.read_file(f"jobs/{job}/ledger.jsonl").splitlines()]


def ray_log(store: Store) -> str:
    (job,) = store.list_folder("jobs")
    return store.read_file(f"jobs/{job}/ray.log").decode()


def assert_plain(out: str) -> None:
    """Every line is one of ours: none names Ray, logs with a clock, or is a bare traceback."""
    for line in out.splitlines():
        assert not any(
            word in line for word in ("Traceback", "WARNING", "INFO", "(raylet)", "ray::", "Tune")
        ), line


def test_the_same_command_finishes_a_job_that_was_cut_off(
    spec_file: Path, store: Store, worker_forks: Mapping[str, str]
) -> None:
    """Killed, terminated, interrupted; then it ends, and did every trial once."""
    kept: set[str] = set()
    # What is killed has workers as Ray starts them.
    ways = {signal.SIGKILL: {}, signal.SIGTERM: worker_forks, signal.SIGINT: worker_forks}
    for how, workers in ways.items():
        before, kept = kept, cut_off(how, spec_file, store, workers)
        assert before < kept, "each attempt did some"
        assert len(kept) < len(SEEDS), "none did all"

    process = start(spec_file, store, "none", {})
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert_plain(out)
    assert len(store.list_folder("steps/evaluate")) == len(SEEDS)
    statuses = Counter(trial["status"] for trial in results(store)["trials"])
    assert statuses == {"reused": len(kept), "done": len(SEEDS) - len(kept)}
    events = ledger(store)
    last = max(place for place, entry in enumerate(events) if entry["event"] == "started")
    ran = [entry["hash"] for entry in events[last:] if entry["event"] == "trial started"]
    assert len(ran) == len(set(ran)) == statuses["done"]
    assert_runs_are_unique(store)
    log = ray_log(store)
    assert "Started a local Ray instance" in log, "what Ray says goes to the log"
    assert "DEBUG" not in log


def cut_off(
    how: signal.Signals, spec_file: Path, store: Store, workers: Mapping[str, str]
) -> set[str]:
    """Run the job until one more trial is done, stop it; returns the trials that are there."""
    there = len(store.list_folder("steps/evaluate"))
    process = start(spec_file, store, "local", workers)
    wait_for(process, lambda: len(store.list_folder("steps/evaluate")) > there)
    left = started_by(process)
    assert left, "there is a Ray to be stopped"
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    out, err = process.communicate(timeout=PATIENCE)
    if how == signal.SIGKILL:
        # Two helpers of Ray's wait a minute for a cluster that is gone before they follow it.
        left = [child for child in left if not is_agent(child)]
    else:
        assert process.returncode == 1
        assert err.splitlines() == ["interrupted; what was done is kept; the same command resumes"]
        assert results(store)["job"]["status"] == "interrupted"
        assert ledger(store)[-1]["event"] == "interrupted"
    assert_plain(out)
    _, alive = psutil.wait_procs(left, timeout=PATIENCE)
    assert alive == []
    return set(store.list_folder("steps/evaluate"))


def is_agent(process: psutil.Process) -> bool:
    """Whether it is Ray's dashboard or runtime environment agent."""
    try:
        return "agent" in " ".join(process.cmdline()).lower()  # `agent.py` until it has a title
    except psutil.Error:
        return False


def assert_runs_are_unique(store: Store) -> None:
    """One run for the job, and one for each trial, whatever became of the first attempt."""
    client = mlflow.MlflowClient(f"sqlite:///{store.root}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    runs = client.search_runs([experiment.experiment_id])
    hashes = [run.data.tags.get("flexkd.hash", "the job") for run in runs]
    assert len(hashes) == len(set(hashes)) == 1 + len(SEEDS)
    assert {run.info.status for run in runs} == {"FINISHED"}, "killed runs were taken up again"
