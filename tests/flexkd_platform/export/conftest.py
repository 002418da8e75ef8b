"""Finished jobs of every task, each run once for all tests of the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.results import JobFiles, find_job
from flexkd_platform.store import open_store

from ..worlds import job, write_examples

SWEEP = "sweep={methods: [{kind: ft}, {kind: flexkd, alpha: [0.1, 0.5]}], seeds: [10, 20]}"

NAMES = 'task.label_names={"0": low, "1": middle, "2": high}'


@dataclass(frozen=True)
class Job:
    """A finished job named `tiny` in a storage of its own, and its spec."""

    storage: Path
    spec: Path

    def files(self) -> JobFiles:
        """What it left."""
        return find_job(open_store(str(self.storage)), "tiny")

    def run(self, *overrides: str, tracking: str = "none") -> int:
        """Run it (again), without Ray; the exit code."""
        sets = [part for override in overrides for part in ("--set", override)]
        options = ["--address", "none", "--tracking-uri", tracking, "--json"]
        return main(["run", str(self.spec), "--storage", str(self.storage), *options, *sets])


@pytest.fixture(scope="session")
def job_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """`job_of(architecture, task, *overrides)`: a finished job, made once; nobody changes it."""

    @cache
    def make(architecture: str, task: str, *overrides: str) -> Job:
        folder = tmp_path_factory.mktemp("export")
        write_examples(folder / "data", task)
        spec = folder / "job.yaml"
        spec.write_text(job(architecture, task).format(data=folder / "data"), encoding="utf-8")
        made = Job(folder / "storage", spec)
        assert made.run(*overrides) == 0
        return made

    return make


@pytest.fixture(scope="session")
def classified(job_of: Callable[..., Job]) -> Job:
    """A job of six trials on a BERT with three classes."""
    return job_of("bert", "classification", SWEEP, NAMES)
