"""Students that train an adapter: every method, resumed, and evaluated as what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from flexkd_platform.artifacts import read_log
from flexkd_platform.job.results_json import _parameters_json
from flexkd_platform.models import load_saved, load_with_head
from flexkd_platform.spec import Resources

from ..lab import train_student

pytest.importorskip("peft")

LORA = "student.lora={r: 2, alpha: 4}"
METHODS = ["{kind: ft}", "{kind: kd}", "{kind: projector, normalise: gradient}",
           "{kind: cka}", "{kind: flexkd, pairing: matched}"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_the_adapter_alone(lab: Any, method: str) -> None:
    trial = lab.trial(method, LORA)
    folder, summary = lab.run(trial), lab.store.manifest(trial.distill).summary
    base = load_file(folder / "model" / "base" / "model.safetensors")
    plain = lab.trial(method)
    lab.run(plain)
    # Frozen weights are those of the student before any training.
    full = load_file(lab.store.folder(plain.distill) / "model" / "model.safetensors")
    assert base.keys() == full.keys()
    assert summary["parameters"] == sum(weight.numel() for weight in base.values())
    assert 0 < summary["trainable_parameters"] < summary["parameters"]
    student, _ = load_saved(folder / "model")
    moved = {name for name, w in student.state_dict().items() if not torch.equal(w, base[name])}
    linear = {n for n in base if n.endswith("weight") and ".layer." in n and "LayerNorm" not in n}
    assert moved
    assert moved <= linear  # the base has the trained head, too
    losses = [entry.values["train/loss"] for entry in read_log(trial.distill, lab.store)]
    assert len(set(losses)) == len(losses)
    plan = lab.plan(f"sweep.methods=[{method}]", LORA)
    (counted,) = _parameters_json(plan, lab.store).values()
    assert counted["trainable_parameters"] == summary["trainable_parameters"]


def test_frozen_weights_do_not_move(lab: Any) -> None:
    trial = lab.trial("{kind: kd}", LORA, "distill.learning_rate=1e-2")
    base = load_file(lab.run(trial) / "model" / "base" / "model.safetensors")
    other = lab.trial("{kind: ft}", LORA, "distill.epochs=1")
    again = load_file(lab.run(other) / "model" / "base" / "model.safetensors")
    frozen = [name for name in base if not name.startswith(("bert.pooler", "classifier"))]
    assert all(torch.equal(base[name], again[name]) for name in frozen)


def test_merged_and_adapter_are_the_same_student(lab: Any) -> None:
    merged = lab.trial("{kind: kd}", "student.lora={r: 2, alpha: 4, export: merged}")
    adapter = lab.trial("{kind: kd}", LORA)
    assert merged.distill.hash != adapter.distill.hash
    folders = [lab.run(trial) / "model" for trial in (merged, adapter)]
    assert not (folders[0] / "adapter_config.json").exists()
    models = [load_saved(folder)[0].state_dict() for folder in folders]
    for name, weight in models[0].items():
        torch.testing.assert_close(weight, models[1][name], atol=1e-6, rtol=1e-6)


def test_a_pretrained_student_is_not_saved_again(lab: Any) -> None:
    init = f"student.init={{kind: pretrained, model: '{lab.folder / 'teacher'}'}}"
    trial = lab.trial("{kind: kd}", LORA, init)
    folder = lab.run(trial) / "model"
    assert sorted(file.name for file in folder.iterdir() if "model" in file.name) == [
        "adapter_model.safetensors"
    ]
    student, _ = load_saved(folder)
    start = load_with_head(lab.folder / "teacher", outputs=2, regression=False, seed=10)
    before, after = start.state_dict(), student.state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert "bert.embeddings.word_embeddings.weight" in same
    assert "bert.encoder.layer.0.attention.self.query.weight" not in same


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "t5"])
def test_a_language_model(world: Callable[..., Any], architecture: str) -> None:
    lab = world(architecture, "summarization" if architecture == "t5" else "instruction")
    trial = lab.trial("{kind: flexkd, pairing: matched}", LORA)
    folder = lab.run(trial)
    student, _ = load_saved(folder / "model")
    assert student.get_output_embeddings() is not None
    assert (folder / "model" / "adapter_config.json").is_file()
    assert lab.store.manifest(trial.evaluate).summary["metrics"]


WAYS: dict[str, tuple[str, list[str], Resources]] = {
    "with dropout": ("{kind: kd}", ["student.lora={r: 2, alpha: 4, dropout: 0.2}"], Resources()),
    "the best epoch": ("{kind: projector}", [LORA, "distill.keep=best"], Resources()),
    "micro-batches": (
        "{kind: cka}",
        ["student.lora={r: 2, alpha: 4, dropout: 0.2}"],
        Resources(micro_batch=3),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_resumes_to_the_last_bit(way: str, fresh: Callable[[], Any]) -> None:
    method, overrides, resources = WAYS[way]
    lab = fresh()
    trial = lab.trial(method, "distill.epochs=3", *overrides)
    whole = bytes_of(lab, trial, resources)
    lab = lab.without(trial.distill)
    training: Any = train_student(trial.distill, lab.store, resources)
    for progress in training:
        if progress.done == 6:
            training.close()
    assert bytes_of(lab, trial, resources) == whole


def bytes_of(lab: Any, trial: Any, resources: Resources) -> dict[str, bytes]:
    """Train to the end; the published files by name."""
    list(train_student(trial.distill, lab.store, resources))
    folder: Path = lab.store.folder(trial.distill)
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_micro_batches_have_the_gradient_of_the_batch(fresh: Callable[[], Any]) -> None:
    lab = fresh()
    trial = lab.trial("{kind: cka}", LORA)
    found = []
    for size in (None, 3):
        list(train_student(trial.distill, lab.store, Resources(micro_batch=size)))
        file = lab.store.folder(trial.distill) / "model" / "adapter_model.safetensors"
        found.append(load_file(file))
        lab = lab.without(trial.distill)
    for name, weight in found[0].items():
        torch.testing.assert_close(weight, found[1][name], atol=1e-4, rtol=1e-3)
