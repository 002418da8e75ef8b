"""The same job on a cluster, through Ray Jobs: the code travels, the exit code comes back."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.submission.ray_jobs import RayJobs

pytestmark = pytest.mark.ray

PATIENCE = 900.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""

SPEC = """\
name: sent
task: {{kind: classification, max_length: 12, data: {{source: files, path: "{data}"}}}}
teacher: {{model: "{teacher}", finetune: {{epochs: 1, batch_size: 8, learning_rate: 1e-3}}}}
student: {{init: {{kind: sliced, layers: 2, hidden_size: 8}}}}
distill: {{epochs: 1, batch_size: 8, learning_rate: 1e-3}}
sweep: {{methods: [{{kind: flexkd}}], seeds: [10]}}
resources: {{teacher_cpus: 1, score_workers: 1, max_concurrent_trials: 1}}
"""

FAILING = ["--set", "sweep.axes={distill.learning_rate: [1e-3, 1e30]}"]
"""A second trial, whose loss is not finite."""

MANY = ["--set", f"sweep.seeds={list(range(10, 26))}", "--set", "name=stopped"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    path = tmp_path_factory.mktemp("submission") / "sent.yaml"
    path.write_text(SPEC.format(data=tiny_world / "reviews", teacher=tiny_world / "teacher"))
    return path


@pytest.fixture(scope="module")
def storage(spec: Path) -> Path:
    """The second job finds the teacher and its passes there."""
    return spec.parent / "storage"


def ledger(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


def test_submit_follows_the_job_and_ends_with_its_exit_code(
    ray_cluster: str, spec: Path, storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A trial that fails is exit code 1, and leaves the other alone."""
    places = ["--storage", str(storage), "--address", ray_cluster]
    assert main(["submit", str(spec), "--wait", *places, *FAILING]) == 1
    shown = capfd.readouterr().out
    assert re.search("flexkd .* seed 10: done", shown)  # its log was streamed
    assert "the loss is" in shown
    assert "FAILED, exit code 1" in shown
    (folder,) = (storage / "jobs").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["job"]["status"] == "failed"
    assert [trial["status"] for trial in results["trials"]] == ["done", "failed"]
    assert results["trials"][1]["reason"] in " ".join(shown.split())
    (entry,) = (e for e in ledger(folder) if e["event"] == "trial" and e["status"] == "failed")
    assert "FloatingPointError" in entry["traceback"]
    assert str(spec.parent) not in (folder / "spec.yaml").read_text(), "its files came along"

    assert main(["jobs", "list", "--json", "--address", ray_cluster]) == 0
    # The cluster is that of other tests, too.
    jobs = json.loads(capfd.readouterr().out)
    (ours,) = (job for job in jobs if job["id"].rpartition("-")[0] == folder.name)
    assert ours["status"] == "FAILED"
    assert main(["jobs", "status", ours["id"], "--address", ray_cluster]) == 0
    assert main(["jobs", "logs", ours["id"], "--address", ray_cluster]) == 0
    assert "test/accuracy" in capfd.readouterr().out


def test_a_job_that_is_stopped_keeps_what_it_has_done(
    ray_cluster: str, spec: Path, storage: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster = ["--address", ray_cluster, "--json"]
    assert main(["submit", str(spec), *MANY, "--storage", str(storage), *cluster]) == 0
    job_id = json.loads(capfd.readouterr().out)["id"]
    jobs, end = RayJobs(ray_cluster), time.monotonic() + PATIENCE
    while "seed 11: done" not in jobs.logs(job_id):
        assert not jobs.status(job_id).over, jobs.logs(job_id)
        assert time.monotonic() < end
        time.sleep(0.2)
    assert main(["jobs", "stop", job_id, "--wait", *cluster]) == 0
    assert json.loads(capfd.readouterr().out)["status"] == "STOPPED"
    folder = storage / "jobs" / job_id.rpartition("-")[0]
    results = json.loads((folder / "results.json").read_text())
    assert results["job"]["status"] == "interrupted"
    # The first seed may be one that an earlier job has trained.
    done = [trial for trial in results["trials"] if trial["status"] in {"done", "reused"}]
    assert 1 <= len(done) < 16
    assert ledger(folder)[-1]["event"] == "interrupted"
    # Every trial that is reported as done can be reused: its last step is in the storage.
    assert len(list((storage / "steps" / "evaluate").iterdir())) >= len(done)
    assert "interrupted; what was done is kept" in jobs.logs(job_id)


def test_a_cluster_that_is_not_there_is_one_clear_line(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(spec), "--address", "http://127.0.0.1:9"]) == 2
    assert "no Ray cluster answers at http://127.0.0.1:9" in capsys.readouterr().err
