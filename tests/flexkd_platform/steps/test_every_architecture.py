"""Every method on every architecture and task, from an untrained teacher to measured students."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from flexkd_platform.artifacts import LabelUnit, read_log, read_responses, read_rows
from flexkd_platform.models import label_unit
from flexkd_platform.plan import Trial
from flexkd_platform.spec import METHODS, canonical_json
from flexkd_platform.steps import run_step
from flexkd_platform.steps.initial_student import initial_student

from ..lab import train_student
from ..worlds import GENERATION, MAX_LENGTH, MAX_PROMPT, MAX_RESPONSE, WORLDS

pytestmark = pytest.mark.slow

# On one task a number, on the others a distribution.
BETWEEN_PROBABILITIES = ("minillm", "jsd", "skew_fkl", "skew_rkl", "tvd", "uld")

AUTO = {
    "classification": AutoModelForSequenceClassification,
    "regression": AutoModelForSequenceClassification,
    "instruction": AutoModelForCausalLM,
    "summarization": AutoModelForSeq2SeqLM,
}


def methods_of(task: str) -> Iterator[str]:
    """Every method that fits the task, as it is, and the settings that take another way."""
    stacks = ("encoder.", "decoder.") if task == "summarization" else ("",)
    crossed = ", ".join(f'"{stack}0": {stack}1, "{stack}1": {stack}0' for stack in stacks)
    for method in METHODS:
        if method == "seqkd" and task not in GENERATION:
            continue
        if method in BETWEEN_PROBABILITIES and task == "regression":
            continue
        yield f"{{kind: {method}}}"
    # Other weights than the defaults of the task: with and without the supervised loss.
    yield "{kind: flexkd, beta: 0.7}"
    yield f"{{kind: flexkd, lambda: {0.5 if task == 'instruction' else 0}}}"
    yield "{kind: flexkd, target: directions}"
    yield "{kind: flexkd, layers: every}"
    yield f"{{kind: flexkd, layers: {{{crossed}}}}}"
    yield "{kind: projector, layers: every, beta: 0.5}"
    if task in GENERATION:
        drawn = "on_policy: {teacher_mix: 0.5, share: 0.5, max_new_tokens: 4}"
        yield f"{{kind: minillm, {drawn}}}"
        yield f"{{kind: flexkd, beta: 1, lambda: 0, {drawn}}}"
        yield "{kind: seqkd, decoding: sample, seed: 3}"
        yield "{kind: seqkd, decoding: beam}"


OF_LOGITS = re.compile(rf"kind: (kd|seqkd|{'|'.join(BETWEEN_PROBABILITIES)})\b")
"""Methods that read the logits alone, whose losses do not depend on the architecture."""

FIRST = {task: architecture for architecture, task in reversed(WORLDS)}
"""The architecture of each task that is trained with those, too."""

CASES = [
    (architecture, task, method)
    for architecture, task in WORLDS
    for method in methods_of(task)
    if architecture == FIRST[task] or not OF_LOGITS.search(method)
]


EMBEDDING = re.compile(r"(word_embeddings|wte|embed_tokens|shared)\.weight$")

MADE_OF = ("base", "source", "aligned", "aligned encoder", "aligned decoder")

_STARTS: dict[str, dict[str, torch.Tensor]] = {}


def start_of(lab: Any, trial: Trial) -> dict[str, torch.Tensor]:
    """The weights of the student before its training."""
    made_of = {role: needed.hash for role, needed in trial.distill.needs.items() if role in MADE_OF}
    key = canonical_json({**trial.distill.identity["student"], **made_of})
    if key not in _STARTS:
        config = trial.distill.config
        rows = read_rows(lab.store.folder(config.dataset), "train")
        unit = LabelUnit.of_table(rows) if config.reading.regresses else None
        model, _ = initial_student(config, lab.store, unit)
        _STARTS[key] = model.state_dict()
    return _STARTS[key]


@pytest.fixture(scope="module")
def trial_of(world: Callable[..., Any]) -> Callable[..., tuple[Any, Trial]]:
    """The lab of a world and the trial of a method in it, what it needs being there."""
    planned: dict[tuple[str, ...], Any] = {}

    def of(architecture: str, task: str, method: str = "", *overrides: str) -> tuple[Any, Trial]:
        lab = world(architecture, task)
        key = (architecture, task, *overrides)
        chosen = [method] if overrides else list(methods_of(task))
        if key not in planned:
            planned[key] = lab.plan(f"sweep.methods=[{', '.join(chosen)}]", *overrides)
            lab.share(planned[key])
        assert len(planned[key].trials) == len(chosen)
        return lab, planned[key].trials[chosen.index(method)]

    return of


def trained(lab: Any, trial: Trial) -> list[float]:
    """Train the student; the loss of every step. Checks what holds for any method."""
    if not lab.store.has(trial.distill):
        list(train_student(trial.distill, lab.store))
    folder, manifest = lab.store.folder(trial.distill), lab.store.manifest(trial.distill)
    log = read_log(trial.distill, lab.store)
    assert all(math.isfinite(value) for entry in log for value in entry.values.values())
    assert len(log) == manifest.summary["steps"] == 6
    measured = {"classification": "accuracy", "regression": "pearson"}
    metric = measured.get(lab_task(trial), "nll")
    assert f"validation/{metric}" in manifest.summary["metrics"]

    weights, before = load_file(folder / "model" / "model.safetensors"), start_of(lab, trial)
    assert set(weights) <= set(before)  # no projector among them
    assert (folder / "projector.safetensors").exists() == (trial.method == "projector")
    # All but what the loss does not reach, as the head of a feature loss alone.
    changed = {name for name, weight in weights.items() if not torch.equal(before[name], weight)}
    assert len(changed) > len(weights) / 2
    assert {name for name in weights if EMBEDDING.search(name)} <= changed
    return [entry.values["train/loss"] for entry in log]


def lab_task(trial: Trial) -> str:
    task: str = trial.distill.config.reading.task
    return task


@pytest.mark.parametrize(("architecture", "task", "method"), CASES)
def test_every_method_trains_a_student(
    trial_of: Callable[..., Any], architecture: str, task: str, method: str
) -> None:
    lab, trial = trial_of(architecture, task, method)
    losses = trained(lab, trial)
    if "on_policy" not in method:  # elsewhere every step is on the same examples
        assert losses[-1] < losses[0]


@pytest.mark.parametrize(("architecture", "task"), WORLDS)
@pytest.mark.parametrize("method", ["{kind: flexkd, beta: 0.5}"])
@pytest.mark.parametrize(
    "override",
    [
        "student.init={kind: aligned, layers: 2, hidden_size: 8, weights: finetuned}",
        "student.init={kind: random, layers: 1, hidden_size: 12}",
        "score.aggregation=batch",
    ],
)
def test_every_start_and_aggregation(
    trial_of: Callable[..., Any], architecture: str, task: str, method: str, override: str
) -> None:
    lab, trial = trial_of(architecture, task, method, override)
    losses = trained(lab, trial)
    # With units selected anew before every step, the loss is another one each time.
    if "aggregation" not in override:
        assert losses[-1] < losses[0]


# --- what is exported, and what it is worth ----------------------------------------------------


@pytest.mark.parametrize(("architecture", "task"), WORLDS)
@pytest.mark.parametrize("method", ["{kind: projector, layers: every, beta: 0.5}"])
def test_the_exported_student_is_the_one_that_was_measured(
    trial_of: Callable[..., Any], architecture: str, task: str, method: str
) -> None:
    lab, trial = trial_of(architecture, task, method)
    trained(lab, trial)
    if not lab.store.has(trial.evaluate):
        list(run_step(trial.evaluate, lab.store, 1))
    folder = lab.store.folder(trial.distill) / "model"
    model = AUTO[task].from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    table = read_rows(lab.store.folder(trial.evaluate.needs["dataset"]), "test")
    metrics = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    kept = pq.read_table(lab.store.folder(trial.evaluate) / "predictions.parquet")
    if task in GENERATION:
        assert set(metrics) == {"test/rougeL", "test/rouge2", "test/nll"}
        assert metrics["test/nll"] == pytest.approx(plain_nll(model, tokenizer, table), rel=1e-5)
        assert kept["references"].to_pylist() == table["references"].to_pylist()
        assert len(kept) == len(table)
        return
    names = {"classification": {"accuracy", "f1", "matthews"}}
    own = names.get(task, {"pearson", "spearman", "mse"})
    assert set(metrics) == {f"test/{name}" for name in own}
    unit = label_unit(model) or LabelUnit()
    for text, outputs in zip(table["text"].to_pylist(), kept["outputs"].to_pylist(), strict=True):
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=MAX_LENGTH)
        with torch.no_grad():
            alone_C = model(**batch).logits[0].numpy()
        alone_C = alone_C * unit.std + unit.mean
        np.testing.assert_allclose(outputs, alone_C, rtol=1e-4, atol=1e-5)


def plain_nll(model: Any, tokenizer: Any, table: Any) -> float:
    """Mean over all response tokens, example by example, by transformers' own loss."""
    total, tokens = 0.0, 0
    seq2seq = model.config.is_encoder_decoder
    for row in table.to_pylist():
        answer = tokenizer(row["response"], add_special_tokens=False).input_ids
        answer = [*answer, tokenizer.eos_token_id][:MAX_RESPONSE]
        text = tokenizer(
            row["prompt"], truncation=True, max_length=MAX_PROMPT, add_special_tokens=seq2seq
        ).input_ids
        read = text if seq2seq else text + answer
        labels = answer if seq2seq else [-100] * len(text) + answer
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([read]), labels=torch.tensor([labels])).loss
        total, tokens = total + loss.item() * len(answer), tokens + len(answer)
    return total / tokens


@pytest.mark.parametrize(("architecture", "task"), [w for w in WORLDS if w[1] in GENERATION])
def test_a_teacher_that_writes_is_evaluated_and_its_responses_are_kept(
    trial_of: Callable[..., Any], architecture: str, task: str
) -> None:
    lab, trial = trial_of(architecture, task, "{kind: seqkd}")
    generated = trial.distill.needs["generated"]
    responses = read_responses(generated, lab.store)
    assert len(responses) == 12
    assert {type(text) for text, _ in responses} == {str}
    assert {type(ended) for _, ended in responses} == {bool}
    teacher = generated.needs["teacher"]
    (evaluation,) = lab.plan().teacher_evaluations
    assert evaluation.needs["student"].hash == teacher.hash
    measured = lab.store.manifest(evaluation).summary["metrics"]
    # The teacher step and its evaluation measure one thing in two places.
    nll = lab.store.manifest(teacher).summary["metrics"]["test/nll"]
    assert measured["test/nll"] == pytest.approx(nll, rel=1e-6)


def test_every_file_of_a_base_model_is_the_same_again(
    world: Callable[..., Any], tmp_path: Path
) -> None:
    """Its tokenizer is trained, its weights are drawn: both from the spec alone."""
    from flexkd_platform.store import open_store

    lab = world("gpt2", "instruction")
    plan = lab.plan()
    lab.alone(plan, "dataset")
    lab.alone(plan, "base")
    again = type(lab)(lab.folder, open_store(str(tmp_path / "storage")), lab.text)
    torch.manual_seed(5)
    again.alone(plan, "dataset")
    again.alone(plan, "base")
    folders = [one.store.folder(lab.step(plan, "base")) / "model" for one in (lab, again)]
    names = sorted(file.name for file in folders[0].iterdir())
    assert len(names) >= 4
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
