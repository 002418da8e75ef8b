"""A job small enough to run in a second: 4-letter words, a random BERT, 26 training examples."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

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

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD, BAD = ["fine", "good", "nice"], ["dull", "poor", "weak"]
NEUTRAL = ["film", "plot", "cast", "tone", "very", "this"]
RARE = "once"  # stands in one training example only

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


def save_bert(folder: Path, words: list[str], **sizes: int) -> Path:
    """A random BERT without a head, and its tokenizer, as `save_pretrained` writes them."""
    folder.mkdir()
    vocabulary = folder / "words.txt"
    vocabulary.write_text("\n".join(SPECIAL + words))
    tokenizer = BertTokenizer(str(vocabulary))
    vocabulary.unlink()
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4} | sizes
    config = BertConfig(
        vocab_size=len(tokenizer), intermediate_size=32, max_position_embeddings=16, **shape
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertModel(config)
        for name, parameter in model.named_parameters():
            if "LayerNorm" not in name:
                torch.nn.init.normal_(parameter, std=0.25)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_data(folder: Path, *, regression: bool) -> Path:
    """26 training, 9 validation and 11 test examples of 1 to 9 words."""
    folder.mkdir()
    draw = random.Random(0)
    for split, rows in (("train", 26), ("validation", 9), ("test", 11)):
        lines = []
        for place in range(rows):
            label = place % 2
            words = draw.choices(NEUTRAL, k=draw.randint(0, 6))
            words += draw.choices((BAD, GOOD)[label], k=draw.randint(1, 2))
            draw.shuffle(words)
            if split == "train" and place == 13:
                words.append(RARE)
            value = label + len(words) / 10 if regression else label
            lines.append(json.dumps({"text": " ".join(words), "label": value}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


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
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Teacher, a student with words of its own, and data."""
    folder = tmp_path_factory.mktemp("tiny")
    words = [*GOOD, *BAD, *NEUTRAL, RARE]
    save_bert(folder / "teacher", words)
    save_bert(folder / "own", [*reversed(words), "more"], hidden_size=12, num_hidden_layers=1)
    write_data(folder / "reviews", regression=False)
    write_data(folder / "ratings", regression=True)
    return folder


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
