"""Tiny jobs in this process: no Ray, trials recorded in memory, a view that says nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from flexkd_platform.cli.progress import SilentView
from flexkd_platform.cli.report import write_report
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.job import run_job
from flexkd_platform.plan import Plan
from flexkd_platform.preflight import Preflight
from flexkd_platform.results import find_job
from flexkd_platform.search import build_plan
from flexkd_platform.spec import load_spec
from flexkd_platform.store import open_store

from ..memory_tracker import MemoryTracker
from ..plan.conftest import facts_of_fixture, plan, spec

__all__ = ["facts_of_fixture", "plan", "spec"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Shop:
    """A spec, a storage and a tracking store that keep what jobs leave."""

    folder: Path
    text: str
    tracker: MemoryTracker = field(default_factory=MemoryTracker)

    def plan(self, *overrides: str) -> Plan:
        """The spec's plan; everything wrong with it is raised."""
        file = self.folder / "job.yaml"
        file.write_text(self.text, encoding="utf-8")
        spec = load_spec(file, overrides)
        preflight = Preflight()
        assert preflight.problems(spec) == []
        return build_plan(spec, preflight.facts_of)

    def run(self, *overrides: str, after_plan: Callable[[], None] | None = None) -> dict[str, Any]:
        """results.json of the job.

        after_plan: called when the plan is made, to change the world behind its back.
        """
        plan = self.plan(*overrides)
        if after_plan is not None:
            after_plan()
        store = open_store(str(self.folder / "storage"))
        run_job(
            plan,
            self.text,
            executor=InProcessExecutor(store, plan.spec.resources),
            store=store,
            tracker=self.tracker,
            view=SilentView(),
        )
        results: dict[str, Any] = json.loads(
            (self.folder / "storage/jobs" / plan.spec.id / "results.json").read_text()
        )
        return results

    def report(self, results: dict[str, Any]) -> str:
        """The page of a job that was run."""
        job = find_job(open_store(str(self.folder / "storage")), results["job"]["id"])
        return write_report(job, load_spec(self.folder / "job.yaml")).read_text()
