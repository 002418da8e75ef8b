"""The classes of a checkpoint's head, matched with those of the data by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from flexkd_platform.artifacts import LabelUnit
from flexkd_platform.model_info import ModelError
from flexkd_platform.model_info.classes import head_names, is_generic, matched_outputs
from flexkd_platform.models import (
    check_model,
    label_unit,
    load_saved,
    load_tokenizer,
    load_with_head,
    save_model,
)
from flexkd_platform.plan import HeadUse

Make = Callable[..., Path]

NLI = ("entailment", "neutral", "contradiction")


def named(folder: Path, **entries: Any) -> Path:
    """The checkpoint with other entries in its config."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    return folder


@pytest.mark.parametrize(
    ("names", "held", "order"),
    [
        (sorted(NLI), NLI, (2, 0, 1)),
        (NLI, NLI, (0, 1, 2)),
        (["Entailment ", "CONTRADICTION", "neutral"], NLI, (0, 2, 1)),
        (["not entailment", "entailment"], ["entailment", "not_entailment"], (1, 0)),
        (["LABEL_2", "LABEL_0", "LABEL_1"], NLI, (2, 0, 1)),
        (["neutral"], NLI, (1, 0, 2)),
        (["2", "1"], ["1", "2"], (1, 0)),
    ],
)
def test_classes_are_matched_by_name(
    names: list[str], held: list[str], order: tuple[int, ...]
) -> None:
    assert matched_outputs(names, held, len(held)) == order


@pytest.mark.parametrize(
    "names", [["pos", "neg"], ["entailment", "Entailment"], ["LABEL_3", "neutral"]]
)
def test_what_cannot_be_matched_is_refused(names: list[str]) -> None:
    with pytest.raises(ModelError, match="its head has the classes entailment, neutral"):
        matched_outputs(names, NLI, 3)


def test_generic_names_are_no_names(make: Make) -> None:
    assert is_generic("LABEL_0")
    assert not is_generic("label of a bottle")
    facts, _ = check_model(str(make("bert", head=3)), None, path="m")
    assert facts is not None
    assert head_names(facts) == ()


@pytest.mark.parametrize(
    "entries",
    [
        {"id2label": dict(enumerate(NLI)), "label2id": {name: i for i, name in enumerate(NLI)}},
        {"label2id": {name: i for i, name in enumerate(NLI)}},
    ],
)
def test_the_names_of_a_checkpoint(make: Make, entries: dict[str, Any]) -> None:
    folder = named(make("bert", head=3), **entries)
    facts, _ = check_model(str(folder), None, path="m")
    assert facts is not None
    assert head_names(facts) == NLI


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "llama"])
def test_outputs_in_the_order_of_the_data(make: Make, kind: str, tmp_path: Path) -> None:
    folder = named(make(kind, head=3), id2label=dict(enumerate(NLI)))
    plain = load_with_head(folder, outputs=3, regression=False, seed=0)
    order = (2, 0, 1)
    names = [NLI[index] for index in order]
    model = load_with_head(
        folder, outputs=3, regression=False, seed=0, head=HeadUse(order=order), names=names
    )
    inputs = {"input_ids": torch.tensor([[2, 3, 4]]), "attention_mask": torch.ones(1, 3).long()}
    with torch.no_grad():
        before, after = plain(**inputs).logits[0], model(**inputs).logits[0]
    assert torch.allclose(after, before[list(order)], atol=1e-6)
    save_model(model, load_tokenizer(folder), tmp_path / "saved")
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert saved.config.id2label == dict(enumerate(names))
    with torch.no_grad():
        assert torch.equal(saved(**inputs).logits[0], after)


def test_a_new_head_replaces_one_of_the_same_size(make: Make) -> None:
    folder = make("bert", head=3)
    kept = load_with_head(folder, outputs=3, regression=False, seed=0)
    new = load_with_head(folder, outputs=3, regression=False, seed=0, head=HeadUse(new=True))
    assert not torch.equal(kept.classifier.weight, new.classifier.weight)
    other = load_with_head(make("bert"), outputs=3, regression=False, seed=0)
    assert torch.equal(other.classifier.weight, new.classifier.weight)


def test_a_head_of_another_task_leaves_no_names(make: Make) -> None:
    folder = named(make("bert", head=3), id2label=dict(enumerate(NLI)))
    model = load_with_head(folder, outputs=3, regression=False, seed=0, head=HeadUse(new=True))
    assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_a_regressor_predicts_the_same_labels_in_any_unit(make: Make, kind: str) -> None:
    """output · std + mean is the label, whatever the unit that the head is converted to."""
    folder, unit = make(kind, head=1), LabelUnit(5000.0, 300.0)
    plain = load_with_head(folder, outputs=1, regression=True, seed=0)
    model = load_with_head(folder, outputs=1, regression=True, seed=0, unit=unit, exact=True)
    assert (label_unit(plain), label_unit(model)) == (None, unit)
    inputs = {"input_ids": torch.tensor([[2, 3, 4]]), "attention_mask": torch.ones(1, 3).long()}
    with torch.no_grad():
        label, output = plain(**inputs).logits.item(), model(**inputs).logits.item()
    assert output * unit.std + unit.mean == pytest.approx(label, abs=1e-2)  # fp32 at 5000


def test_a_unit_is_saved_and_read_again(make: Make, tmp_path: Path) -> None:
    folder, unit = make("bert"), LabelUnit(2.5, 0.5)
    model = load_with_head(folder, outputs=1, regression=True, seed=0, unit=unit)
    save_model(model, load_tokenizer(folder), tmp_path / "saved")
    assert label_unit(load_saved(tmp_path / "saved")[0]) == unit
    other = LabelUnit(0.0, 2.0)
    again = load_with_head(tmp_path / "saved", outputs=1, regression=True, seed=0, unit=other)
    assert torch.allclose(again.classifier.weight, model.classifier.weight / 4)
    assert torch.allclose(again.classifier.bias, model.classifier.bias / 4 + 1.25)
    classes = load_with_head(tmp_path / "saved", outputs=2, regression=False, seed=0)
    assert label_unit(classes) is None
