"""A job whose storage is S3 and whose tracking is MLflow on PostgreSQL, on hosts without a disk.

The driver's host has our code and no CPU to give; the others have a CPU each and none of our code.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from flexkd_platform.store import Manifest, Store, open_store

from ..flexkd_platform.tracking.conftest import MlflowPlace
from .network import CHECKOUT, Host, wait_until
from .services import PLACES, Database, ObjectStorage, RayHosts, TrackingServer

SPEC = """\
name: away
task:
  kind: instruction
  data: {source: builtin, name: docstrings, train: 26, validation: 4, test: 4}
  max_prompt: 24
  max_response: 8
teacher:
  model:
    config: {model_type: gpt2, n_embd: 16, n_layer: 3, n_head: 4}
    vocab_size: 400
  finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
student: {init: {kind: random, layers: 2, hidden_size: 8}, warm_up: {epochs: 1, batch_size: 8}}
score: {chunk: 4}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep: {methods: [{kind: ft}, {kind: kd}, {kind: flexkd}], seeds: [1, 2]}
evaluate: {decoding: {kind: greedy}, max_new_tokens: 4}
resources: {score_workers: 2, teacher_cpus: 1}
"""
"""A teacher and two warm-ups, none of which needs another; then a pass, and six trials."""


@dataclass(frozen=True)
class Ran:
    """`results.json` of the job, run on the cluster; and the nodes that ran steps at one time."""

    results: dict[str, Any]
    side_by_side: set[str]


@pytest.fixture(scope="module")
def ran(driver: Host, ray_hosts: RayHosts, s3: ObjectStorage, mlflow_server: TrackingServer) -> Ran:
    driver.write("/tmp/home/away.yaml", SPEC)
    where = ["--storage", s3.uri("away/größe"), "--tracking-uri", mlflow_server.uri]
    argv = command(*where, "--address", ray_hosts.address)
    process = driver.start(argv, ray_hosts.env | {"PYTHONPATH": PLACES})
    found: set[str] = set()

    def on_two_hosts() -> bool:
        found.clear()
        found.update(nodes_of_running_steps(ray_hosts))
        return len(found) > 1

    wait_until(on_two_hosts, "steps on two hosts", process=process)
    assert process.wait() == 0, process.tail()
    printed = [line for line in process.log.read_text().splitlines() if line.startswith("{")]
    return Ran(json.loads(printed[-1]), found)


def nodes_of_running_steps(ray_hosts: RayHosts) -> set[str]:
    """The nodes that run a step right now."""
    tasks = ray_hosts.get("/api/v0/tasks?limit=1000&detail=1")["data"]["result"]["result"]
    return {
        task["node_id"]
        for task in tasks
        if task["name"] == "run_step_on_ray" and task["state"] == "RUNNING"
    }


@pytest.fixture(scope="module")
def job(ran: Ran) -> dict[str, Any]:
    """`results.json` of the job, run on the cluster."""
    return ran.results


@pytest.fixture(scope="module")
def local(job: dict[str, Any], driver: Host, ray_hosts: RayHosts) -> dict[str, Any]:
    """`results.json` of the job on the driver's disk, without Ray."""
    here = ["--storage", "/tmp/home/local", "--tracking-uri", "none", "--address", "none"]
    return run(driver, *here, env=ray_hosts.env)


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "flexkd_platform.cli", "run", "away.yaml", *options, "--json"]


def run(host: Host, *options: str, env: dict[str, str]) -> dict[str, Any]:
    done = host.run(command(*options), env | {"PYTHONPATH": PLACES})
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.fixture
def storage(s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The job's storage, for this process."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return open_store(s3.uri("away/größe"))


def test_it_is_done_and_nothing_lies_on_any_host(
    job: dict[str, Any], ray_hosts: RayHosts, driver: Host
) -> None:
    assert job["job"]["status"] == "done"
    assert {step["status"] for step in job["steps"]} == {"ran"}
    assert [trial["status"] for trial in job["trials"]] == ["done"] * 6
    for host in (ray_hosts.head, *ray_hosts.workers, driver):
        # The checkout, which one of the hosts sees, may lie there and hold anything.
        kept = ["-path", str(CHECKOUT), "-prune", "-o", "-path", "*/steps/*"]
        found = host.run(["find", "/tmp", *kept, "-name", "manifest.json", "-print"]).stdout
        assert found == "", f"{host.name} has artifacts of its own"


def test_independent_steps_ran_side_by_side(ran: Ran) -> None:
    """A worker process starts with each step, so that they overlap however short they are."""
    assert len(ran.side_by_side) > 1


def test_the_same_as_on_one_disk_without_ray(job: dict[str, Any], local: dict[str, Any]) -> None:
    assert local["selection"], "a selection is compared"
    for ours, theirs in zip(job["selection"], local["selection"], strict=True):
        assert ours["score_digest"] == theirs["score_digest"]
        assert ours["units"] == theirs["units"]
    for ours, theirs in zip(job["trials"], local["trials"], strict=True):
        assert ours["hash"] == theirs["hash"]
        assert ours["metrics"] == pytest.approx(theirs["metrics"], abs=1e-6)


def test_the_same_without_ray_in_the_bucket_as_on_a_disk(
    local: dict[str, Any], driver: Host, s3: ObjectStorage, mlflow_server: TrackingServer
) -> None:
    where = ["--storage", s3.uri("alone"), "--tracking-uri", mlflow_server.uri]
    alone = ["--set", "tracking.experiment=alone", "--set", "sweep.seeds=[1]", "--address", "none"]
    away = run(driver, *where, *alone, env=s3.env)
    assert away["job"]["status"] == local["job"]["status"] == "done"
    assert away["selection"] == local["selection"] != []
    metrics = {trial["hash"]: trial["metrics"] for trial in local["trials"]}
    assert [trial["metrics"] for trial in away["trials"]] == [
        metrics[trial["hash"]] for trial in away["trials"]
    ]
    tags = {run.id: run.tags for run in MlflowPlace(mlflow_server.uri, "alone").runs("trial")}
    for trial in away["trials"]:
        start = f"s3://{s3.bucket}/alone/steps/distill/{trial['hash']}/files-"
        assert tags[trial["run_id"]]["flexkd.student"].startswith(start)


def test_runs_say_where_their_student_lies_and_what_it_must_be(
    job: dict[str, Any], mlflow_server: TrackingServer, storage: Store, s3: ObjectStorage
) -> None:
    place = MlflowPlace(mlflow_server.uri, "away")
    runs = {run.id: run for run in place.runs("trial")}
    assert set(runs) == {trial["run_id"] for trial in job["trials"]}
    for trial in job["trials"]:
        run = runs[trial["run_id"]]
        assert run.status == "FINISHED"
        assert run.artifacts == {}, "large files stay in the storage"
        folder = open_store(run.tags["flexkd.student"])
        manifest = storage.manifest_at("distill", trial["hash"])
        assert run.tags["flexkd.student_sha256"] == manifest.digest
        content = folder.read_file("model/model.safetensors")
        entry = manifest.files["model/model.safetensors"]
        assert hashlib.sha256(content).hexdigest() == entry.sha256
    shown = json.dumps([dict(run.tags) for run in [*runs.values(), place.run("job")]])
    assert s3.env["AWS_SECRET_ACCESS_KEY"] not in shown
    assert {"spec.yaml", "results.json", "artifacts.json", "report/index.html"} <= set(
        place.run("job").artifacts
    )


def test_what_the_job_leaves_is_in_the_bucket(
    job: dict[str, Any], s3: ObjectStorage, storage: Store, postgres: Database
) -> None:
    (folder,) = storage.list_folder("jobs")
    names = storage.list_folder(f"jobs/{folder}")
    assert {"spec.yaml", "plan.json", "ledger.jsonl", "results.json"} <= set(names)
    for step in job["steps"]:
        manifest: Manifest = storage.manifest_at(step["kind"], step["hash"])
        files = [
            f"steps/{step['kind']}/{step['hash']}/{manifest.place}/{n}" for n in manifest.files
        ]
        kept = [key.removeprefix("away/größe/") for key in s3.keys("away/größe/steps/")]
        assert set(files) <= set(kept)
    assert [key for key in s3.keys("away/größe/parts/") if not key.endswith("/")] == []
    assert [key for key in s3.keys("away/größe/ray/") if not key.endswith("/")] == []
    everything = "".join(
        storage.read_file(f"jobs/{folder}/{name}").decode() for name in names if "." in name
    )
    assert s3.env["AWS_SECRET_ACCESS_KEY"] not in everything
    assert postgres.password not in everything


def test_a_folder_of_one_node_is_refused_as_storage(driver: Host, ray_hosts: RayHosts) -> None:
    """It is there on the driver's host, and a folder of its own on each of the others."""
    where = ["--storage", "/tmp/home/mine", "--tracking-uri", "none"]
    argv = command(*where, "--address", ray_hosts.address)
    done = driver.run(argv, ray_hosts.env | {"PYTHONPATH": PLACES}, check=False)
    assert done.returncode == 2
    assert "3 problems, nothing was started" in done.stderr
    for host in (ray_hosts.head, *ray_hosts.workers):
        assert f"the node {host.address} cannot use /tmp/home/mine" in done.stderr
    assert "a different folder exists at that path" in done.stderr
    found = driver.run(["find", "/tmp/home/mine", "-type", "f", "-not", "-name", "ray.log"]).stdout
    assert found == "", "nothing was started"


def test_all_again_runs_nothing(
    job: dict[str, Any],
    driver: Host,
    ray_hosts: RayHosts,
    s3: ObjectStorage,
    mlflow_server: TrackingServer,
) -> None:
    where = ["--storage", s3.uri("away/größe"), "--tracking-uri", mlflow_server.uri]
    again = run(driver, *where, "--address", ray_hosts.address, env=ray_hosts.env)
    assert {step["status"] for step in again["steps"]} == {"reused"}
    assert {trial["status"] for trial in again["trials"]} == {"reused"}
    assert [t["run_id"] for t in again["trials"]] == [t["run_id"] for t in job["trials"]]
