"""A job small enough to run in a second: 4-letter words, a random BERT, 26 training examples."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from flexkd_platform.plan import DistillConfig, Plan, Step, Trial
from flexkd_platform.preflight import Preflight
from flexkd_platform.search import build_plan
from flexkd_platform.spec import Method, Resources, load_spec
from flexkd_platform.steps import (
    ChunkedPass,
    GenerationPass,
    Output,
    RunContext,
    execute,
    passes,
    run_step,
    run_trial,
)
from flexkd_platform.steps.student_training import StudentTraining
from flexkd_platform.store import Store, open_store
from flexkd_platform.tracking import Progress
from flexkd_platform.training import SoloWorker, torch_threads

from .worlds import job, write_examples

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
def one_thread() -> Iterator[None]:
    """One torch thread, for the folders that import this."""
    with torch_threads(1):
        yield


@dataclass(frozen=True)
class Lab:
    """A folder with teacher and data, a store, and the steps of a job run in this process.

    text: of the job, with {data} and {teacher} for their folders.
    preflight: looks at data and models once, which stay as they are.
    """

    folder: Path
    store: Store
    text: str = SPEC
    preflight: Preflight = field(default_factory=Preflight)

    def plan(self, *overrides: str, data: str | Path = "reviews") -> Plan:
        """The plan of the tiny job, changed by `path=value` overrides."""
        file = self.folder / "job.yaml"
        text = self.text.format(data=self.folder / data, teacher=self.folder / "teacher")
        file.write_text(text, encoding="utf-8")
        return build_plan(load_spec(file, overrides), self.preflight.facts_of)

    def trial(self, method: str, *overrides: str, data: str | Path = "reviews") -> Trial:
        """The one trial of a method given as YAML, its shared steps run."""
        plan = self.plan(f"sweep.methods=[{method}]", *overrides, data=data)
        self.share(plan)
        (trial,) = plan.trials
        return trial

    def share(self, plan: Plan) -> None:
        """Run the shared steps that are not there yet."""
        self.alone(plan, "dataset")
        self.alone(plan, "base", "teacher")
        scoring = [s for s in plan.shared if s.kind in ("score", "cache")]
        for request in passes([step for step in scoring if not self.store.has(step)]):
            self.chunks(request)
        for step in (s for s in plan.shared if s.kind == "generate"):
            self.chunks(GenerationPass(step))
        self.alone(plan, "select")
        self.alone(plan, "warm_up", "evaluate")

    def alone(self, plan: Plan, *kinds: str) -> None:
        """Run the shared steps of some kinds, each by itself."""
        for step in (s for s in plan.shared if s.kind in kinds):
            list(run_step(step, self.store, 1))

    def chunks(self, request: ChunkedPass) -> None:
        """Run what a pass lacks, and publish it."""
        missing = request.missing(self.store)
        work = request.open(self.store) if missing else None
        for chunk in missing:
            assert work is not None
            assert not work(chunk).error
        request.publish(self.store)

    def run(self, trial: Trial) -> Path:
        """Train and evaluate; the student's folder."""
        list(run_trial(trial.distill, trial.evaluate, self.store, SoloWorker(), Resources()))
        return self.store.folder(trial.distill)

    def without(self, step: Step) -> Lab:
        """The lab of a new process, after the artifact of a step was deleted: a store remembers
        what it has read.
        """
        shutil.rmtree(self.store.folder(step))
        return replace(self, store=open_store(self.store.uri))

    def step(self, plan: Plan, kind: str) -> Step:
        """The one shared step of a kind."""
        found, *others = (s for s in plan.shared if s.kind == kind)
        assert not others, f"{1 + len(others)} {kind} steps"
        return found

    def cache(self, plan: Plan, holds: str | int) -> Step:
        """The one cache of a layer, or of the outputs."""
        caches = (s for s in plan.shared if s.kind == "cache" and s.config.holds == holds)
        (found,) = caches
        return found


def train_student(
    step: Step, store: Store, resources: Resources | None = None
) -> Iterator[Progress]:
    """Train a student, which `run_step` leaves to trials."""
    return execute(step, store, RunContext.of_trial(SoloWorker(), resources or Resources()))


def training_of(step: Step[DistillConfig], store: Store) -> StudentTraining:
    """A training that has not begun."""
    return StudentTraining(step.config, store, Output(step, store), RunContext(SoloWorker()))


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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Lab]:
    """`world(architecture, task)`: a lab on a model made from a config; one for all tests."""
    made: dict[tuple[str, str], Lab] = {}

    def of(architecture: str, task: str) -> Lab:
        if (architecture, task) not in made:
            folder = tmp_path_factory.mktemp(f"{architecture}-{task}")
            write_examples(folder / "reviews", task)
            store = open_store(str(folder / "storage"))
            made[architecture, task] = Lab(folder, store, job(architecture, task))
        return made[architecture, task]

    return of


def method_of(settings: Mapping[str, Any]) -> Method:
    """A method as a spec gives it."""
    method: Method = TypeAdapter(Method).validate_python(dict(settings))
    return method
