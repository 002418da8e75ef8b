"""How often a storage is asked: each call of its filesystem is a request to an object store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from flexkd_platform.cli.progress import SilentView
from flexkd_platform.cli.report import write_report
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.job import pruned_before, run_job
from flexkd_platform.results import JobFolder, find_job
from flexkd_platform.search import nothing_left
from flexkd_platform.spec import load_spec
from flexkd_platform.store import Store

from .conftest import Shop

SPEC = """\
name: quick
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher, finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}}
student: {init: {kind: sliced, layers: 1, hidden_size: 8}}
score: {chunk: 8}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep:
  methods:
    - {kind: ft}
    - {kind: kd}
    - {kind: projector, alpha: [0.05, 0.5]}
    - {kind: cka}
    - {kind: flexkd, alpha: [0.05, 0.5]}
  seeds: [10, 20, 30]
resources: {teacher_cpus: 1}
"""
"""The steps of the quickstart, on a world that is small enough."""

MOST = 3
"""Round trips a step, of a finished job that is run again."""


class Counting:
    """A folder of this disk that counts what it is asked for, and is no disk to a store."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._disk = fs.LocalFileSystem()

    def __getattr__(self, name: str) -> Any:
        self.calls[name] += 1
        return getattr(self._disk, name)

    def open_output_stream(self, path: str) -> Any:
        """A put, for which an object store needs no folder."""
        self.calls["open_output_stream"] += 1
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return self._disk.open_output_stream(path)


def test_a_finished_job_is_run_again_with_few_round_trips(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "downloads"))
    shop = Shop(tmp_path, SPEC.replace("WORLD", str(tiny_world)))
    assert shop.run()["job"]["status"] == "done"
    plan = shop.plan()
    steps = list(plan.steps())
    assert (len(plan.trials), len(steps)) == (21, 48)

    counting = Counting()
    storage = tmp_path / "storage"
    # A lock of the disk, which an object store would take for the lease of another process.
    (storage / "jobs" / plan.spec.id / ".lock").unlink()
    store = Store(counting, str(storage), "counted://storage")  # type: ignore[arg-type]
    assert nothing_left(plan, store, pruned_before(JobFolder(store, plan.spec.id)))
    executor = InProcessExecutor(store, plan.spec.resources)
    outcome = run_job(
        plan, shop.text, executor=executor, store=store, tracker=shop.tracker, view=SilentView()
    )
    write_report(find_job(store, plan.spec.id), load_spec(shop.folder / "job.yaml"))
    assert {record.status for record in outcome.records} == {"reused"}
    assert {step.status for step in outcome.steps.values()} == {"reused"}
    assert counting.calls.total() <= MOST * len(steps), counting.calls
