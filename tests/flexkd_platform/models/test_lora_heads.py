"""The head of a student that is saved as an adapter: its classes, its task, its unit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from flexkd_platform.artifacts import LabelUnit
from flexkd_platform.model_info.classes import head_names
from flexkd_platform.models import (
    add_lora,
    check_model,
    label_unit,
    load_saved,
    load_tokenizer,
    load_with_head,
)
from flexkd_platform.plan import HeadUse
from flexkd_platform.spec import Lora

from .test_lora import trained

pytest.importorskip("peft")

NAMES = ("bad", "fair", "good")
UNIT = LabelUnit(mean=5.0, std=2.0)


def logits(model: Any, batch: dict[str, Tensor]) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(**batch).logits
    return found


@pytest.fixture
def student(make: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Path, Any]]:
    """`student(kind, regression)`: a saved adapter, whose base has no head, and its model."""

    def of(kind: str = "bert", *, regression: bool = False) -> tuple[Path, Any]:
        base = make(kind, name="base")
        model = load_with_head(
            base,
            outputs=1 if regression else 3,
            regression=regression,
            seed=0,
            names=() if regression else NAMES,
            unit=UNIT if regression else None,
        )
        adapted = add_lora(model, Lora(r=2, alpha=4), seed=5)
        trained(adapted)
        adapted.save(load_tokenizer(base), tmp_path / "student", base)
        return tmp_path / "student", adapted.model

    return of


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_classifier_keeps_its_names(
    kind: str, student: Any, batch_of: Any, facts_at: Any
) -> None:
    folder, model = student(kind)
    again, _ = load_saved(folder)
    assert again.config.id2label == dict(enumerate(NAMES))
    assert again.config.label2id == {name: at for at, name in enumerate(NAMES)}
    assert again.config.problem_type == "single_label_classification"
    torch.testing.assert_close(
        logits(again, batch_of(kind)), logits(model, batch_of(kind)), atol=2e-5, rtol=2e-5
    )
    assert head_names(facts_at(folder)) == NAMES


def test_a_regressor_keeps_its_unit(student: Any, batch_of: Any) -> None:
    folder, _ = student(regression=True)
    again, _ = load_saved(folder)
    assert label_unit(again) == UNIT
    assert (again.config.problem_type, again.config.num_labels) == ("regression", 1)


def test_a_head_of_several_labels_stays_one(student: Any) -> None:
    """The config of a head that this platform did not train may have another task."""
    folder, _ = student()
    file = folder / "flexkd_head.json"
    values = json.loads(file.read_text()) | {"problem_type": "multi_label_classification"}
    file.write_text(json.dumps(values))
    assert load_saved(folder)[0].config.problem_type == "multi_label_classification"


def test_its_outputs_are_put_in_the_order_of_the_data(student: Any, batch_of: Any) -> None:
    folder, model = student()
    order = (2, 0, 1)
    head = HeadUse(order=order)
    teacher = load_with_head(folder, outputs=3, regression=False, seed=1, head=head)
    expected = logits(model, batch_of("bert"))[:, list(order)]
    torch.testing.assert_close(logits(teacher, batch_of("bert")), expected, atol=2e-5, rtol=2e-5)


def test_its_output_is_converted_to_the_unit_of_the_data(student: Any, batch_of: Any) -> None:
    folder, model = student(regression=True)
    other = LabelUnit(mean=-1.0, std=0.5)
    teacher = load_with_head(folder, outputs=1, regression=True, seed=1, unit=other)
    labels = [
        unit.mean + unit.std * logits(each, batch_of("bert"))
        for unit, each in ((UNIT, model), (other, teacher))
    ]
    torch.testing.assert_close(labels[1], labels[0], atol=1e-4, rtol=1e-4)


def test_a_new_head_is_not_that_of_the_adapter(student: Any, tmp_path: Path) -> None:
    folder, _ = student()
    new = load_with_head(
        folder, outputs=3, regression=False, seed=7, head=HeadUse(new=True), names=("a", "b", "c")
    )
    plain = load_with_head(tmp_path / "base", outputs=3, regression=False, seed=7)
    assert torch.equal(new.classifier.weight, plain.classifier.weight)
    assert new.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_the_names_are_part_of_the_fingerprint(student: Any, facts_at: Any) -> None:
    folder, _ = student()
    before = facts_at(folder).fingerprint
    file = folder / "flexkd_head.json"
    values = json.loads(file.read_text())
    values["id2label"] = {"0": "good", "1": "fair", "2": "bad"}
    file.write_text(json.dumps(values))
    assert facts_at(folder).fingerprint != before


@pytest.mark.parametrize("name", ["flexkd_head.json", "config.json"])
def test_a_file_that_describes_no_head_is_refused(student: Any, name: str) -> None:
    folder, _ = student()
    (folder / "flexkd_head.json").rename(folder / name)
    (folder / name).write_text("[")
    facts, (problem,) = check_model(str(folder), None, path="teacher.model")
    assert facts is None
    assert f"{name} does not describe a head" in problem.message
    assert "remove it" in problem.remedy


def test_transformers_loads_the_adapters_folder(student: Any) -> None:
    """A config.json beside the adapter would be taken for that of a whole model."""
    folder, _ = student()
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    again, _ = load_saved(folder)
    names = dict(again.named_parameters())
    assert any(torch.equal(p, names["classifier.weight"]) for p in model.parameters())
