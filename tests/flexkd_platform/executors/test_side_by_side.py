"""Two jobs on one cluster that is too small for both at once; and what is planned of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.app import main

from ..tiny_jobs import spec_json

pytestmark = pytest.mark.ray

PATIENCE = 900.0
"""Seconds after which two jobs are taken to wait for each other; they take two minutes."""

RESOURCES = {"trial_workers": 2, "teacher_cpus": 2, "score_workers": 3}
"""Of three CPUs: two trials of two workers do not fit, nor a teacher of two beside a trial."""


@pytest.fixture
def address(ray_cluster: str) -> str:
    import ray

    return str(ray.get_runtime_context().gcs_address)


def spec_file(material: Path, folder: Path, **sections: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "job.yaml"
    path.write_text(json.dumps(spec_json(material) | {"resources": RESOURCES} | sections))
    return path


def start(spec: Path, address: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flexkd_platform.cli", "run", str(spec), "--json"]
    places = ["--storage", str(spec.parent / "storage"), "--tracking-uri", "none"]
    return subprocess.Popen(
        [*command, *places, "--address", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_two_jobs_share_a_cluster_and_both_finish(
    material: Path, tmp_path: Path, address: str
) -> None:
    """From the data set to the comparison, trials of two workers included.

    One scores with every CPU; the other, whose trial asks its teacher, trains alone.
    """
    distill = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    more = {
        "flexkd": {},
        "kd": {"distill": distill | {"teacher_cache": "off"}},
    }
    jobs = []
    for method, sections in more.items():
        sweep = {"methods": [{"kind": method}], "seeds": [1], "baseline": None}
        spec = spec_file(material, tmp_path / method, name=method, sweep=sweep, **sections)
        jobs.append(start(spec, address))
    try:
        for job in jobs:
            out, err = job.communicate(timeout=PATIENCE)
            assert (job.returncode, err) == (0, "")
            results = json.loads(out.splitlines()[-1])
            assert [trial["status"] for trial in results["trials"]] == ["done"]
    finally:
        for job in jobs:
            if job.poll() is None:
                job.kill()
                job.wait()


def test_a_group_of_workers_that_waits_holds_nothing(address: str) -> None:
    """What makes it safe: two that each want the last places do not hold half of them."""
    import ray
    from ray.util import placement_group, remove_placement_group

    first = placement_group([{"CPU": 1}] * 2)
    second = None
    try:
        ray.get(first.ready(), timeout=PATIENCE)
        second = placement_group([{"CPU": 1}] * 2)
        # A task that takes the last CPU runs while the group waits for two of them.
        alone = ray.remote(num_cpus=1)(lambda: "ran").remote()
        assert ray.get(alone, timeout=PATIENCE) == "ran"
        assert not second.wait(1)
        remove_placement_group(first)
        assert second.wait(PATIENCE), "its turn has come"
    finally:
        for group in (first, second):
            if group is not None:
                remove_placement_group(group)


def test_a_plan_reads_the_nodes_of_the_cluster(
    material: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_file(material, tmp_path)
    storage = ["--storage", str(tmp_path / "storage"), "--tracking-uri", "none"]
    assert main(["plan", str(spec), *storage, "--address", address, "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["nodes"] == [{"cpus": 3.0, "gpus": 0.0}]
    assert (numbers["concurrent_trials"], numbers["peak"]["cpus"]) == (1, 3)
    assert main(["plan", str(spec), *storage, "--address", address]) == 0
    assert "nodes: 1 × 3 CPUs, 0 GPUs" in capsys.readouterr().out
    for command in ("plan", "validate", "run"):
        wide = ["--set", "resources.trial_workers=4"]
        assert main([command, str(spec), *wide, *storage, "--address", address]) == 2
        err = " ".join(capsys.readouterr().err.split())
        assert "only 3 fit on a node of 3 CPUs" in err
        assert "--set resources.trial_workers=3" in err
    assert not (tmp_path / "storage" / "steps").exists(), "nothing was started"
