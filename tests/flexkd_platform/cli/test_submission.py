"""The same job on a cluster, through Ray Jobs: the code travels, the exit code comes back."""

from __future__ import annotations

import json
import time
from pathlib import Path

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
distill: {{epochs: 1, batch_size: 8, learning_rate: {rate}}}
sweep: {{methods: [{{kind: flexkd}}], seeds: [10]}}
resources: {{teacher_cpus: 1, score_workers: 1}}
"""


@pytest.fixture
def spec(tmp_path: Path, tiny_world: Path) -> Path:
    path = tmp_path / "sent.yaml"
    text = SPEC.format(data=tiny_world / "reviews", teacher=tiny_world / "teacher", rate="1e-3")
    path.write_text(text)
    return path


def test_submit_follows_the_job_and_ends_with_its_exit_code(
    ray_cluster: str,
    spec: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = ["--storage", str(tmp_path / "storage"), "--address", ray_cluster]
    assert main(["submit", str(spec), "--wait", *storage]) == 0
    shown = capfd.readouterr().out
    assert "flexkd α=0.5 seed 10: done" in shown  # its log was streamed
    assert "SUCCEEDED, exit code 0" in shown
    (folder,) = (tmp_path / "storage/jobs").iterdir()
    assert json.loads((folder / "results.json").read_text())["job"]["status"] == "done"

    assert str(tmp_path) not in (folder / "spec.yaml").read_text(), "its files came along"

    # A trial that fails is exit code 1.
    rate = ["--set", "distill.learning_rate=1e30"]
    assert main(["submit", str(spec), "--wait", *storage, *rate]) == 1
    assert "the loss is" in capfd.readouterr().out

    assert main(["jobs", "list", "--json", "--address", ray_cluster]) == 0
    # The cluster is that of other tests, too.
    names = {folder.name for folder in (tmp_path / "storage/jobs").iterdir()}
    jobs = json.loads(capfd.readouterr().out)
    ours = [job for job in jobs if job["id"].rpartition("-")[0] in names]
    assert sorted(job["status"] for job in ours) == ["FAILED", "SUCCEEDED"]
    done = next(job["id"] for job in ours if job["status"] == "SUCCEEDED")
    assert main(["jobs", "status", done, "--address", ray_cluster]) == 0
    assert main(["jobs", "logs", done, "--address", ray_cluster]) == 0
    assert "test/accuracy" in capfd.readouterr().out
    assert main(["jobs", "status", "nobody-1", "--address", ray_cluster]) == 2


def test_a_job_that_is_stopped_keeps_what_it_has_done(
    ray_cluster: str, spec: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "storage"
    more = ["--set", "sweep.seeds=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"]
    one = ["--set", "resources.max_concurrent_trials=1", "--set", "name=stopped"]
    cluster = ["--address", ray_cluster, "--json"]
    assert main(["submit", str(spec), *more, *one, "--storage", str(storage), *cluster]) == 0
    job_id = json.loads(capfd.readouterr().out)["id"]
    jobs, end = RayJobs(ray_cluster), time.monotonic() + PATIENCE
    while "seed 1: done" not in jobs.logs(job_id):
        assert not jobs.status(job_id).over, jobs.logs(job_id)
        assert time.monotonic() < end
        time.sleep(0.2)
    assert main(["jobs", "stop", job_id, "--wait", *cluster]) == 0
    assert json.loads(capfd.readouterr().out)["status"] == "STOPPED"
    (folder,) = (storage / "jobs").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["job"]["status"] == "interrupted"
    done = [trial for trial in results["trials"] if trial["status"] == "done"]
    assert 1 <= len(done) < 16
    events = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "interrupted"
    # Every trial that is told as done can be reused: its last step is in the storage.
    assert len(list((storage / "steps" / "evaluate").iterdir())) >= len(done)
    assert "interrupted; what was done is kept" in jobs.logs(job_id)


def test_a_cluster_that_is_not_there_is_one_clear_line(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", str(spec), "--address", "http://127.0.0.1:9"]) == 2
    assert "no Ray cluster answers at http://127.0.0.1:9" in capsys.readouterr().err
