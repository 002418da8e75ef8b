"""A job small enough to run in a second: 4-letter words, a random BERT, 26 training examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.job import Preflight
from flexkd_platform.plan import Plan, Step, Trial, build_plan
from flexkd_platform.spec import load_spec
from flexkd_platform.steps import (
    ChunkScorer,
    SoloWorker,
    passes,
    publish_pass,
    run_step,
    run_trial,
    torch_threads,
)
from flexkd_platform.store import Store, open_store

SPEC = """\
name: tiny
task: {{kind: classification, max_length: 12, data: {{source: files, path: "{data}"}}}}
teacher: {{model: "{teacher}", finetune: {{epochs: 2, batch_size: 8, learning_rate: 1e-3}}}}
student: {{init: {{kind: sliced, layers: 2, hidden_size: 8}}}}
score: {{chunk: 8}}
distill: {{epochs: 2, batch_size: 8, learning_rate: 1e-3}}
sweep:
  methods: [{{kind: ft}}, {{kind: kd}}, {{kind: projector}}, {{kind: cka}}, {{kind: flexkd}}]
  seeds: [10]
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):
        yield


@dataclass(frozen=True)
class Lab:
    """A folder with teacher and data, a store, and the steps of a job run in this process."""

    folder: Path
    store: Store

    def plan(self, *overrides: str, data: str = "reviews") -> Plan:
        """The plan of the tiny job, changed by `path=value` overrides."""
        file = self.folder / "job.yaml"
        text = SPEC.format(data=self.folder / data, teacher=self.folder / "teacher")
        file.write_text(text, encoding="utf-8")
        return build_plan(load_spec(file, overrides), Preflight().facts_of)

    def trial(self, method: str, *overrides: str, data: str = "reviews") -> Trial:
        """The one trial of a method given as YAML, its shared steps run."""
        plan = self.plan(f"sweep.methods=[{method}]", *overrides, data=data)
        self.share(plan)
        (trial,) = plan.trials
        return trial

    def share(self, plan: Plan) -> None:
        """Run the shared steps that are not there yet."""
        shared = plan.shared
        for step in (s for s in shared if s.kind in ("dataset", "teacher")):
            list(run_step(step, self.store, 1))
        missing = [s for s in shared if s.kind in ("score", "cache") and not self.store.has(s)]
        for request in passes(missing):
            scorer = ChunkScorer(request, self.store)
            for chunk in request.missing(self.store):
                assert not scorer(chunk).error
            publish_pass(request, self.store)
        for step in (s for s in shared if s.kind == "select"):
            list(run_step(step, self.store, 1))

    def run(self, trial: Trial) -> Path:
        """Train and evaluate; the student's folder."""
        list(run_trial(trial.distill, trial.evaluate, self.store, SoloWorker(), 1))
        return self.store.folder(trial.distill)

    def step(self, plan: Plan, kind: str) -> Step:
        """The one shared step of a kind."""
        (found,) = (s for s in plan.shared if s.kind == kind)
        return found


@pytest.fixture(scope="session")
def lab(tiny_world: Path) -> Lab:
    """One store for all tests: a step that is there is not run again, as in life."""
    return Lab(tiny_world, open_store(str(tiny_world / "storage")))


@pytest.fixture
def fresh(tiny_world: Path, tmp_path: Path) -> Callable[[], Lab]:
    """`fresh()`: a lab with an empty store."""
    made: list[Any] = []

    def make() -> Lab:
        made.append(None)
        return Lab(tiny_world, open_store(str(tmp_path / f"storage-{len(made)}")))

    return make
