"""Independent steps of one job run at the same time, each on a host of its own."""

from __future__ import annotations

import json
import sys

import pytest

from .network import CHECKOUT, wait_until
from .services import MakeHost, ObjectStorage, RayHosts

SPEC = """\
name: beside
task:
  kind: instruction
  data: {source: builtin, name: docstrings, train: 100, validation: 4, test: 4}
  max_prompt: 24
  max_response: 8
teacher:
  model:
    config: {model_type: gpt2, n_embd: 16, n_layer: 3, n_head: 4}
    vocab_size: 400
  finetune: {batch_size: 8, learning_rate: 1e-3}
student: {init: {kind: random, layers: 2, hidden_size: 8}, warm_up: {epochs: 6, batch_size: 8}}
score: {chunk: 64}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods: [{kind: ft}, {kind: kd}]
  axes: {teacher.finetune.epochs: [6, 7]}
  seeds: [1, 2, 3]
evaluate: {decoding: {kind: greedy}, max_new_tokens: 4}
resources: {score_workers: 1, teacher_cpus: 1}
"""
"""Two teachers and three warm-ups, none of which needs another."""


def hosts_of_running_steps(ray_hosts: RayHosts) -> set[str]:
    """The nodes that run a step right now."""
    tasks = ray_hosts.get("/api/v0/tasks?limit=1000&detail=1")["data"]["result"]["result"]
    return {
        task["node_id"]
        for task in tasks
        if task["name"] == "run_step_on_ray" and task["state"] == "RUNNING"
    }


def test_two_teachers_and_three_warm_ups_run_side_by_side(
    ray_hosts: RayHosts, make_host: MakeHost, s3: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    driver = make_host("driver", checkout=True)
    driver.write("/tmp/home/beside.yaml", SPEC)
    ray_hosts.join(driver, cpus=0)
    ray_hosts.wait_for_nodes(4)
    places = ":".join(str(CHECKOUT / place) for place in ("", "platform", "dashboards"))
    argv = [sys.executable, "-m", "flexkd_platform.cli", "run", "beside.yaml", "--json"]
    argv += ["--storage", s3.uri("beside"), "--tracking-uri", "none"]
    process = driver.start(
        [*argv, "--address", ray_hosts.address], ray_hosts.env | {"PYTHONPATH": places}
    )
    wait_until(
        lambda: len(hosts_of_running_steps(ray_hosts)) > 1, "steps on two hosts", process=process
    )
    assert process.wait() == 0, process.tail()
    ray_hosts.kill(driver)
    printed = [line for line in process.log.read_text().splitlines() if line.startswith("{")]
    results = json.loads(printed[-1])
    assert {step["status"] for step in results["steps"]} == {"ran"}
    trials = [trial["status"] for trial in results["trials"]]
    assert trials == ["done"] * 9, "fine-tuning does not depend on the teacher"
