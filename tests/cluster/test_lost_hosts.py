"""A host is powered off with the worker that trains on it: the trial goes on elsewhere."""

from __future__ import annotations

import json
import sys

import pytest

from flexkd_platform.results import find_job
from flexkd_platform.store import open_store

from .network import Host, wait_until
from .services import PLACES, ObjectStorage, RayHosts

STEPS = 300

SPEC = f"""\
name: lost
task:
  kind: instruction
  data: {{source: builtin, name: docstrings, train: 24, validation: 4, test: 4}}
  max_prompt: 24
  max_response: 8
teacher:
  model:
    config: {{model_type: gpt2, n_embd: 16, n_layer: 3, n_head: 4}}
    vocab_size: 400
student: {{init: {{kind: random, layers: 2, hidden_size: 8}}}}
distill: {{epochs: {STEPS // 3}, batch_size: 8, learning_rate: 1e-3, keep: last}}
sweep: {{methods: [{{kind: ft}}], seeds: [1]}}
evaluate: {{decoding: {{kind: greedy}}, max_new_tokens: 4}}
resources:
  trial_workers: {{min: 1, max: 2}}
  checkpoint_steps: 15
  teacher_cpus: 1
"""


def trains(ray_hosts: RayHosts, host: Host) -> bool:
    """Whether a worker of the trial lives on the host."""
    nodes = ray_hosts.get("/api/v0/nodes?limit=100")["data"]["result"]["result"]
    (node,) = (node["node_id"] for node in nodes if node["node_ip"] == host.address)
    actors = ray_hosts.get("/api/v0/actors?limit=1000&detail=1")["data"]["result"]["result"]
    return any(
        actor["class_name"] == "RayTrainWorker"
        and actor["node_id"] == node
        and actor["state"] == "ALIVE"
        for actor in actors
    )


def checkpointed(s3: ObjectStorage) -> bool:
    """Whether the trial has a checkpoint to go on from: what makes one whole is written last."""
    keys = s3.keys("lost/parts/distill-")
    return any("/training-" in key and key.endswith(".json") for key in keys)


def test_a_trial_outlives_a_host_of_its_workers(
    ray_hosts: RayHosts, driver: Host, s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    driver.write("/tmp/home/lost.yaml", SPEC)
    nodes = ray_hosts.alive()
    argv = [sys.executable, "-m", "flexkd_platform.cli", "run", "lost.yaml", "--json"]
    argv += ["--storage", s3.uri("lost"), "--tracking-uri", "none"]
    process = driver.start(
        [*argv, "--address", ray_hosts.address], ray_hosts.env | {"PYTHONPATH": PLACES}
    )
    busy: list[Host] = []

    def begun() -> bool:
        # Each node has one CPU: of the two workers at least one is not on the head.
        busy.extend(host for host in ray_hosts.workers if trains(ray_hosts, host))
        return bool(busy)

    # Asked before there is a checkpoint: from then on the training is over in seconds.
    wait_until(begun, "a worker of the trial", process=process)
    wait_until(lambda: checkpointed(s3), "a checkpoint", process=process)
    ray_hosts.kill(busy[0])
    assert process.wait() == 0, process.tail()
    told = [line for line in process.log.read_text().splitlines() if line.startswith("{")]
    results = json.loads(told[-1])
    assert [trial["status"] for trial in results["trials"]] == ["done"]
    store = open_store(s3.uri("lost"))
    log = find_job(store, results["job"]["id"]).training_log(results["trials"][0]["hash"])
    assert [entry.step for entry in log] == list(range(1, STEPS + 1))
    assert [key for key in s3.keys("lost/parts/") if not key.endswith("/")] == []
    ray_hosts.replace(busy[0])
    ray_hosts.wait_for_nodes(nodes)
