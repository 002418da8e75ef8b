"""A team's own losses and task, in a module beside the spec or in an installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..command_server import CommandServer
from ..tiny_jobs import spec_json

pytestmark = pytest.mark.slow

MODULE = '''
from typing import ClassVar, Literal

import torch

from flexkd_core import register_class_loss, register_feature_loss
from flexkd_platform.spec import (
    ClassificationTask,
    LayeredMethod,
    LogitTerm,
    LossSettings,
    register_logit_loss,
    register_method,
    register_task,
)
from flexkd_platform.tasks import Head, register_head


def l1(student_NS, teacher_NS):
    return (student_NS - teacher_NS[:, : student_NS.shape[1]]).abs().mean()


def hinge(student_NC, teacher_NC, *, temperature=1.0, margin=0.0, reduction="mean"):
    rows_N = torch.relu((student_NC - teacher_NC).abs() - margin).mean(dim=1)
    return rows_N if reduction == "none" else rows_N.mean()


register_feature_loss("l1", l1)
register_class_loss("hinge", hinge)


@register_logit_loss
class Hinge(LogitTerm):
    """Differences of logits beyond a margin."""

    kind: Literal["hinge"] = "hinge"
    version: ClassVar[int] = 1
    margin: float = 0.0


@register_method
class L1Distillation(LayeredMethod):
    """Mean absolute difference of the first units."""

    kind: Literal["l1"]
    version: ClassVar[int] = VERSION

    @property
    def feature_loss(self) -> LossSettings:
        return LossSettings("l1")


def smoothed(outputs_NC, labels_N, *, reduction):
    loss = torch.nn.functional.cross_entropy
    return loss(outputs_NC, labels_N, label_smoothing=0.1, reduction=reduction)


def measured(logits_NC, labels_N):
    right = float((logits_NC.argmax(axis=1) == labels_N).mean())
    return {"accuracy": right, "error": 1 - right}


register_head("smoothed", Head(smoothed, measured))


@register_task
class Smoothed(ClassificationTask):
    """Classes, by smoothed labels."""

    kind: Literal["smoothed"]
    version: ClassVar[int] = TASK_VERSION
    head: ClassVar[str] = "smoothed"
    metrics: ClassVar = ("error", "accuracy")
    on_request: ClassVar = frozenset()
    lower_is_better: ClassVar = frozenset({"error"})
    validation_metric: ClassVar[str] = "error"
'''


def module(version: int = 1, task_version: int = 1) -> str:
    return MODULE.replace("TASK_VERSION", str(task_version)).replace("VERSION", str(version))


METHODS: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "l1", "alpha": [0.1, 0.5]},
    {"kind": "flexkd", "beta": 1.0, "logit": {"kind": "hinge", "margin": 0.1}},
]


@pytest.fixture
def spec(material: Path, tmp_path: Path) -> Path:
    """A job of the task with both losses, and their module beside it."""
    (tmp_path / "team_losses.py").write_text(module())
    content = spec_json(material) | {"plugins": ["team_losses"]}
    content["task"]["kind"] = "smoothed"
    content["evaluate"] = {}
    content["sweep"] = {"methods": METHODS, "seeds": [1]}
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(content))
    return path


def flexkd_on_ray(
    spec: Path, storage: str, forks: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """The job on a Ray of its own, whose workers find the module as the driver does."""
    argv = [sys.executable, "-m", "flexkd_platform.cli", "run", str(spec), "--storage", storage]
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return subprocess.run(
        [*argv, *OPTIONS, "--address", "local"],
        capture_output=True,
        text=True,
        cwd="/",
        env=others | forks,
    )


OPTIONS = ["--tracking-uri", "none", "--json"]


def numbers(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The metrics of each trial of a job that was run."""
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["job"]["status"] == "done"
    return {f"{trial['method']} {trial['params']}": trial["metrics"] for trial in results["trials"]}


@pytest.mark.ray
def test_a_job_runs_with_them_here_and_on_ray(
    spec: Path, tmp_path: Path, commands: CommandServer, worker_forks: dict[str, str]
) -> None:
    where = ["--storage", str(tmp_path / "here"), "--address", "none"]
    done = commands.run("run", str(spec), *where, *OPTIONS, cwd=Path("/"))
    here = numbers(done)
    assert set(here) == {
        "ft {}",
        "l1 {'alpha': 0.1}",
        "l1 {'alpha': 0.5}",
        "flexkd {'alpha': 0.5, 'beta': 1.0, 'logit': 'hinge', 'logit.margin': 0.1}",
    }
    losses = [metrics["train/loss"] for metrics in here.values()]
    assert len(set(losses)) == len(losses), "each is a loss of its own"
    for metrics in here.values():
        assert metrics["test/error"] == 1 - metrics["test/accuracy"]
        assert "test/f1" not in metrics
    assert numbers(flexkd_on_ray(spec, str(tmp_path / "ray"), worker_forks)) == here


def test_a_version_is_part_of_the_hashes(
    spec: Path, tmp_path: Path, commands: CommandServer
) -> None:
    def hashes() -> dict[str, str]:
        where = ["--storage", str(tmp_path / "s")]
        done = commands.run("plan", str(spec), "--json", *where, cwd=tmp_path)
        trials = json.loads(done.stdout)["trials"]
        return {f"{t['method']} {t['params']}": t["hash"] for t in trials}

    before = hashes()
    (tmp_path / "team_losses.py").write_text(module(version=2))
    after = hashes()
    changed = {name.split()[0] for name in before if before[name] != after[name]}
    assert changed == {"l1"}
    (tmp_path / "team_losses.py").write_text(module(task_version=2))
    assert not set(hashes().values()) & set(before.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "ModuleNotFoundError: No module named 'team_losses'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            module().replace('["l1"]', '["kd"]'),
            "ValueError: the method 'kd' is already registered; use another name",
        ),
        (
            module().replace('Literal["smoothed"]', 'Literal["regression"]'),
            "ValueError: the task 'regression' is already registered; use another name",
        ),
        (
            module().replace('register_head("smoothed"', 'register_head("classes"'),
            "ValueError: the head 'classes' is already registered; use another name",
        ),
    ],
)
def test_one_that_cannot_be_imported_is_found_first(
    spec: Path, tmp_path: Path, commands: CommandServer, content: str | None, reason: str
) -> None:
    module = tmp_path / "team_losses.py"
    module.unlink()
    if content is not None:
        module.write_text(content)
    done = commands.run("run", str(spec), "--storage", str(tmp_path / "s"), cwd=tmp_path)
    assert done.returncode == 2
    assert f"plugins[0] (line 1): cannot import 'team_losses': {reason}" in done.stderr
    assert "or a file in the spec's folder, without .py" in done.stderr
    assert not (tmp_path / "s" / "jobs").exists()


def test_an_installed_package_needs_no_line_in_the_spec(
    spec: Path, tmp_path: Path, commands: CommandServer
) -> None:
    site = tmp_path / "site"
    (site / "team-1.0.dist-info").mkdir(parents=True)
    (site / "team-1.0.dist-info" / "METADATA").write_text("Name: team\nVersion: 1.0\n")
    entry = "[flexkd.plugins]\nteam = team_losses\n"
    (site / "team-1.0.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "team_losses.py").rename(site / "team_losses.py")
    content = json.loads(spec.read_text())
    del content["plugins"]
    spec.write_text(json.dumps(content))
    options = ["--storage", str(tmp_path / "s"), "--json"]
    done = commands.run("validate", str(spec), *options, cwd=tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 4
    listed = commands.run("list", "methods", cwd=tmp_path, PYTHONPATH=str(site))
    assert "l1 " in listed.stdout
    losses = commands.run("list", "losses", cwd=tmp_path, PYTHONPATH=str(site))
    assert {line.split()[0] for line in losses.stdout.splitlines()} >= {"l1", "hinge", "mse"}
    schema = commands.run("schema", cwd=tmp_path, PYTHONPATH=str(site))
    assert "L1Distillation" in json.loads(schema.stdout)["$defs"]


@pytest.mark.parametrize("command", ["list methods", "schema"])
def test_an_installed_package_that_fails_is_reported(
    tmp_path: Path, commands: CommandServer, command: str
) -> None:
    (tmp_path / "team-1.0.dist-info").mkdir()
    (tmp_path / "team-1.0.dist-info" / "METADATA").write_text("Name: team\nVersion: 1.0\n")
    entry = "[flexkd.plugins]\nteam = team_losses\n"
    (tmp_path / "team-1.0.dist-info" / "entry_points.txt").write_text(entry)
    (tmp_path / "team_losses.py").write_text("raise RuntimeError('no licence')")
    done = commands.run(*command.split(), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "the installed plugin 'team' failed: RuntimeError: no licence" in done.stderr
