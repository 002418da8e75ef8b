"""A tiny teacher, small data, jobs on them, and stores whose shared steps are done."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, BertTokenizer

from flexkd_platform.executors import Advanced, Executor, Halving, RungScores, StepError
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.job.graph import Graph, Node, trial_node
from flexkd_platform.job.scheduler import Scheduler
from flexkd_platform.model_info.quiet import quiet
from flexkd_platform.plan import Plan, Step, Trial
from flexkd_platform.preflight import Preflight
from flexkd_platform.search import build_plan
from flexkd_platform.spec import JobSpec, Resources, load_spec
from flexkd_platform.steps import ChunkedPass, GenerationPass, passes
from flexkd_platform.store import Holder, Leases, Store, open_store
from flexkd_platform.tracking import Progress

GOOD, BAD = ["good", "fine", "great", "fun"], ["bad", "dull", "slow", "poor"]
NEUTRAL = ["a", "film", "plot", "the", "was", "very", "##ly", "un"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `teacher/`, a random BERT of 21,000 weights, and `data/`, JSONL splits."""
    folder = tmp_path_factory.mktemp("material")
    (folder / "words.txt").write_text("\n".join(SPECIAL + GOOD + BAD + NEUTRAL))
    tokenizer = BertTokenizer(str(folder / "words.txt"))
    config = AutoConfig.for_model(
        "bert",
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=48,
        max_position_embeddings=20,
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModel.from_config(config)
        for parameter in model.parameters():  # large: rows must differ for a well-posed correlation
            torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(folder / "teacher")
        tokenizer.save_pretrained(folder / "teacher")
    draw = random.Random(0)
    for split, rows in {"train": 120, "validation": 12, "test": 12}.items():
        path = folder / "data" / f"{split}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(_row(draw, label % 2) for label in range(rows)))
    return folder


def _row(draw: random.Random, label: int) -> str:
    words = [draw.choice(GOOD if label else BAD), *draw.choices(NEUTRAL, k=draw.randint(2, 9))]
    draw.shuffle(words)
    return json.dumps({"text": " ".join(words), "label": label}) + "\n"


SpecOf = Callable[..., JobSpec]
PlanOf = Callable[[JobSpec], Plan]
StoreWith = Callable[..., Store]


@pytest.fixture(scope="session")
def spec_of(material: Path) -> SpecOf:
    """`spec_of(section={...}, ...)`: a small job, sections replaced by those given."""

    def make(**sections: Any) -> JobSpec:
        path = material / "job.yaml"
        path.write_text(json.dumps(spec_json(material) | sections))
        return load_spec(path)

    return make


def spec_json(material: Path) -> dict[str, Any]:
    """A small job on the tiny teacher, as a spec file holds it."""
    data = {"source": "files", "path": str(material / "data"), "train": 40}
    return {
        "name": "tiny",
        "task": {"kind": "classification", "data": data, "max_length": 20},
        "teacher": {
            "model": str(material / "teacher"),
            "finetune": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3},
        },
        "student": {"init": {"kind": "sliced", "layers": 2, "hidden_size": 12}},
        "score": {"chunk": 8},
        "distill": {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3},
        "sweep": {"methods": [{"kind": "ft"}, {"kind": "flexkd"}], "seeds": [1]},
        "evaluate": {"metrics": ["accuracy"]},
    }


WRITERS: dict[str, dict[str, Any]] = {
    "instruction": {"model_type": "gpt2", "n_embd": 16, "n_layer": 3, "n_head": 4},
    "summarization": {
        "model_type": "bart",
        "d_model": 16,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    },
}
"""The config of a tiny teacher for each task that writes text."""


def writing_json(task: str) -> dict[str, Any]:
    """A small job of a task that writes text, on part of the built-in docstrings."""
    data = {"source": "builtin", "name": "docstrings", "train": 13, "validation": 4, "test": 4}
    finetune = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    model = {"config": WRITERS[task], "vocab_size": 400}
    return {
        "name": f"tiny-{task}",
        "task": {"kind": task, "data": data, "max_prompt": 24, "max_response": 8},
        "teacher": {"model": model, "finetune": finetune},
        "student": {"init": {"kind": "random", "layers": 2, "hidden_size": 8}},
        "score": {"chunk": 4},
        "distill": {"epochs": 2, "batch_size": 6, "learning_rate": 1e-3},
        "sweep": {"methods": [{"kind": "ft"}], "seeds": [1]},
        "evaluate": {"decoding": {"kind": "greedy"}, "max_new_tokens": 4},
    }


@pytest.fixture(scope="session")
def plan_of() -> PlanOf:
    """The plan of a spec that nothing is wrong with."""

    def make(spec: JobSpec) -> Plan:
        preflight = Preflight()
        assert preflight.problems(spec) == []
        return build_plan(spec, preflight.facts_of)

    return make


def run_shared(plan: Plan, executor: Executor, *, scoring: bool = True) -> None:
    """Data sets and teachers; then, unless they are not wanted, the passes and what they feed."""
    shared = plan.shared
    for step in shared:
        if step.kind in {"dataset", "base", "teacher"}:
            executor.run(step, lambda progress: None)
    if not scoring:
        return
    requests: list[ChunkedPass] = [GenerationPass(s) for s in shared if s.kind == "generate"]
    requests += passes([step for step in shared if step.kind in {"score", "cache"}])
    for request in requests:
        executor.run_pass(request, lambda done: None)
    for step in shared:
        if step.kind in {"select", "warm_up"}:
            executor.run(step, lambda progress: None)


@pytest.fixture
def store_with(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> StoreWith:
    """`store_with(plan, scoring=True)`: a store of its own in which the shared steps are done."""
    done: dict[tuple[str, bool], Path] = request.session.__dict__.setdefault("_flexkd_stores", {})
    made = 0

    def make(plan: Plan, *, scoring: bool = True) -> Store:
        nonlocal made
        key = (plan.spec.hash, scoring)
        if key not in done:
            done[key] = tmp_path_factory.mktemp("prepared")
            executor = InProcessExecutor(open_store(str(done[key])), Resources(teacher_cpus=1))
            run_shared(plan, executor, scoring=scoring)
        made += 1
        copy = tmp_path / f"store-{made}"
        shutil.copytree(done[key], copy)
        return open_store(str(copy))

    return make


@dataclass
class Heard:
    """A scheduler's listener that keeps what it hears of trials, in order."""

    events: list[tuple[str, str]] = field(default_factory=list)
    progress: dict[str, list[Progress]] = field(default_factory=dict)
    failures: dict[str, StepError] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def started(self, nodes: Sequence[Node], chunks: int | None) -> None:
        self.events.append(("started", nodes[0].step.hash))

    def advanced(self, nodes: Sequence[Node], event: Advanced) -> None:
        assert event.progress, "an event without progress"
        self.progress.setdefault(nodes[0].step.hash, []).extend(event.progress)

    def done(self, node: Node) -> None:
        self.events.append(("ended", node.step.hash))

    def failed(self, node: Node, failure: StepError) -> None:
        self.events.append(("ended", node.step.hash))
        self.failures[node.step.hash] = failure

    def pruned(self, node: Node, reason: str) -> None:
        self.events.append(("pruned", node.step.hash))
        self.reasons[node.step.hash] = reason

    def reused(self, node: Node) -> None:
        raise AssertionError("every trial is to run")

    def waiting(self, node: Node, holder: Holder) -> None:
        raise AssertionError("no other job works on the trials")

    def damaged(self, step: Step, reasons: Sequence[str], place: str) -> None:
        raise AssertionError(f"{step.kind} is damaged: {reasons}")

    def of(self, trial: Trial) -> list[str]:
        """What happened to the trial but its progress."""
        return [event for event, digest in self.events if digest == trial.hash]

    def losses(self, trial: Trial) -> list[float]:
        """The training loss of every step, as it was told."""
        return [p.metrics.values["train/loss"] for p in self.progress[trial.hash] if p.metrics]

    def steps(self, trial: Trial) -> list[int]:
        """The numbers of the steps, as they were told."""
        return [progress.done for progress in self.progress[trial.hash]]


def run_trials(
    executor: Executor,
    trials: Sequence[Trial],
    heard: Heard,
    halving: Halving | None = None,
    scores: RungScores | None = None,
) -> None:
    """Run trials as one sweep, as many at a time as there is room for."""
    graph = Graph()
    for trial in trials:
        graph.add(trial_node(trial))
    leases = Leases(executor.store, Holder("test", "here", 1, "job"), lambda message: None)
    scheduler = Scheduler(graph, executor, executor.store, leases, heard)
    executor.open_sweep(trials, scheduler.receive, halving, scores)
    scheduler.run()
    executor.close_sweep()
    leases.close()


@pytest.fixture
def heard() -> Heard:
    """A listener that keeps what it is told."""
    return Heard()


def metrics_of(trial: Trial, store: Store) -> Mapping[str, float]:
    """What was measured on the trial's student."""
    metrics: Mapping[str, float] = store.manifest(trial.evaluate).summary["metrics"]
    return metrics
