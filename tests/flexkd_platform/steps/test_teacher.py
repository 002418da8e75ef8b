"""The teacher step: fitted or taken as it is, and measured either way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from flexkd_platform.artifacts import read_rows
from flexkd_platform.spec import Resources
from flexkd_platform.steps import run_step, run_trial
from flexkd_platform.steps.teacher_model import load_teacher
from flexkd_platform.training import SoloWorker


def teacher_of(lab: Any, *overrides: str) -> tuple[Any, list[Any]]:
    """The teacher step, run with its data set; and its progress."""
    plan = lab.plan(*overrides)
    list(run_step(lab.step(plan, "dataset"), lab.store, 1))
    step = lab.step(plan, "teacher")
    return step, list(run_step(step, lab.store, 1))


def outputs(lab: Any, step: Any, folder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a saved classifier on a split, one text at a time; and the labels."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = read_rows(lab.store.folder(step.needs["dataset"]), split)
    with torch.no_grad():
        logits = [
            model(**tokenizer(t, return_tensors="pt", truncation=True, max_length=12)).logits[0]
            for t in rows["text"].to_pylist()
        ]
    return torch.stack(logits).numpy(), rows["label"].to_numpy()


def test_a_fitted_teacher_is_a_folder_that_transformers_reads(lab: Any) -> None:
    step, _ = teacher_of(lab)
    folder, manifest = lab.store.folder(step), lab.store.manifest(step)
    for split in ("validation", "test"):
        logits_NC, labels_N = outputs(lab, step, folder / "model", split)
        predicted_N = logits_NC.argmax(axis=1)
        assert (
            manifest.summary["metrics"]
            | {
                f"{split}/accuracy": pytest.approx(sk.accuracy_score(labels_N, predicted_N)),
                f"{split}/f1": pytest.approx(sk.f1_score(labels_N, predicted_N, zero_division=0)),
            }
            == manifest.summary["metrics"]
        )
    assert json.loads((folder / "metrics.json").read_text()) == manifest.summary["metrics"]
    model, _ = load_teacher(step, lab.store)
    assert manifest.summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert not model.training


def test_fitting_tells_its_progress_and_learns(fresh: Callable[[], Any]) -> None:
    lab = fresh()
    recipe = ("teacher.finetune.epochs=12", "teacher.finetune.learning_rate=1e-2")
    step, progress = teacher_of(lab, *recipe)
    assert [p.done for p in progress] == list(range(1, 49))
    losses = [p.metrics.values["train/loss"] for p in progress]
    assert sum(losses[-4:]) < 0.5 * sum(losses[:4])
    assert set(progress[0].metrics.values) == {
        "train/loss",
        "train/supervised",
        "train/learning_rate",
        "train/grad_norm",
        "train/clipped",
    }
    assert lab.store.manifest(step).summary["metrics"]["test/accuracy"] > 0.8
    assert list(run_step(step, lab.store, 1)) == []


def test_fitting_repeats_itself_and_leaves_the_global_generator_alone(
    fresh: Callable[[], Any],
) -> None:
    """Its dropout draws from the global generator, whatever was drawn from it before."""
    weights = []
    for seed in (1, 2):
        lab = fresh()
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        step, _ = teacher_of(lab)
        assert torch.equal(torch.get_rng_state(), before)
        weights.append((lab.store.folder(step) / "model" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    other, _ = teacher_of(lab, "teacher.finetune.seed=1")
    assert (lab.store.folder(other) / "model" / "model.safetensors").read_bytes() != weights[0]


def test_a_teacher_that_is_used_as_it_is_stays_where_it_lies(lab: Any) -> None:
    fitted, _ = teacher_of(lab)
    place = lab.store.folder(fitted) / "model"
    step, progress = teacher_of(lab, f"teacher.model={place}", "teacher.finetune=null")
    assert progress == []
    folder, manifest = lab.store.folder(step), lab.store.manifest(step)
    assert sorted(p.name for p in folder.iterdir()) == ["manifest.json", "metrics.json"]
    assert manifest.summary == lab.store.manifest(fitted).summary
    (one, _), (other, _) = load_teacher(step, lab.store), load_teacher(fitted, lab.store)
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])


def test_a_teacher_that_is_used_as_it_is_can_be_distilled(lab: Any) -> None:
    fitted, _ = teacher_of(lab)
    place = lab.store.folder(fitted) / "model"
    overrides = (f"teacher.model={place}", "teacher.finetune=null")
    trial = lab.trial("{kind: flexkd, beta: 1}", *overrides)
    assert (lab.run(trial) / "model").is_dir()
    assert [s.kind for s in trial.distill.upstream()].count("teacher") == 1


def test_steps_that_are_not_run_alone(lab: Any) -> None:
    plan = lab.plan("distill.epochs=77", "score.chunk=3")
    for step in plan.steps():
        if step.kind in ("score", "cache", "distill"):
            with pytest.raises(
                ValueError, match=f"^{step.kind} steps only run in a pass or a trial$"
            ):
                list(run_step(step, lab.store, 1))


def test_a_trial_that_is_there_is_not_run_again(lab: Any) -> None:
    trial = lab.trial("{kind: ft}")
    lab.run(trial)
    before = [lab.store.manifest(s) for s in (trial.distill, trial.evaluate)]
    again = run_trial(trial.distill, trial.evaluate, lab.store, SoloWorker(), Resources())
    assert list(again) == []
    assert [lab.store.manifest(s) for s in (trial.distill, trial.evaluate)] == before
