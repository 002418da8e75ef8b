"""The order of a checkpoint's outputs is its own business: results follow the classes' names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, pipeline

from flexkd_platform.models import load_tokenizer, load_with_head, save_model
from flexkd_platform.plan import TeacherConfig, with_config

from ..lab import Lab

NAMES = ("neg", "pos")
KD = "{kind: kd, beta: 0.5, lambda: 0.5}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    """The reviews with words as labels, and one classifier in both orders of its outputs."""
    folder = tmp_path_factory.mktemp("names")
    (folder / "words").mkdir()
    for file in (tiny_world / "reviews").glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [json.dumps(row | {"label": NAMES[row["label"]]}) for row in rows]
        (folder / "words" / file.name).write_text("\n".join(lines) + "\n")
    for name, order in {"sorted": (0, 1), "swapped": (1, 0)}.items():
        model = load_with_head(tiny_world / "teacher", outputs=2, regression=False, seed=4)
        with torch.no_grad():
            model.classifier.weight.mul_(50)  # outputs that differ between examples
            model.classifier.weight.copy_(model.classifier.weight[list(order)])
        model.config.id2label = {at: NAMES[cls] for at, cls in enumerate(order)}
        model.config.label2id = {NAMES[cls]: at for at, cls in enumerate(order)}
        save_model(model, load_tokenizer(tiny_world / "teacher"), folder / name)
    return folder


@pytest.mark.parametrize("finetune", ["teacher.finetune=null", "teacher.finetune.epochs=1"])
def test_both_orders_give_the_same_results(lab: Lab, world: Path, finetune: str) -> None:
    found = []
    for name in ("sorted", "swapped"):
        changes = (f"teacher.model={world / name}", finetune, "teacher.finetune.epochs=1")
        trial = lab.trial(KD, *changes[: 2 if "null" in finetune else 3], data=world / "words")
        lab.run(trial)
        (teacher,) = with_config(trial.distill.upstream(), TeacherConfig)
        metrics = dict(lab.store.manifest(teacher).summary["metrics"])
        metrics |= lab.store.manifest(trial.distill).summary["metrics"]
        found.append(metrics | lab.store.manifest(trial.evaluate).summary["metrics"])
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_saved_models_show_the_labels_of_the_data(lab: Lab, world: Path) -> None:
    trial = lab.trial(KD, f"teacher.model={world / 'swapped'}", data=world / "words")
    lab.run(trial)
    (teacher,) = with_config(trial.distill.upstream(), TeacherConfig)
    for step in (teacher, trial.distill):
        folder = lab.store.folder(step) / "model"
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        assert model.config.label2id == {"neg": 0, "pos": 1}
        classify = pipeline("text-classification", model=str(folder), device="cpu")
        assert classify("good film")[0]["label"] in NAMES


def test_numbered_labels_from_one_are_shown_as_they_are(lab: Lab, tmp_path: Path) -> None:
    for file in (lab.folder / "reviews").glob("*.jsonl"):
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        lines = [json.dumps(row | {"label": row["label"] + 1}) for row in rows]
        (tmp_path / file.name).write_text("\n".join(lines) + "\n")
    trial = lab.trial("{kind: ft}", data=tmp_path)
    plain = lab.trial("{kind: ft}")
    for each in (trial, plain):
        lab.run(each)
    shifted, counted = (lab.store.manifest(t.evaluate).summary["metrics"] for t in (trial, plain))
    assert shifted == counted  # the F1 of two classes is that of class 1, not the macro mean
    model = AutoModelForSequenceClassification.from_pretrained(
        lab.store.folder(trial.distill) / "model"
    )
    assert model.config.id2label == {0: "1", 1: "2"}
