"""Heads of checkpoints whose classes are not those of the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from flexkd_platform.plan import Plan, TeacherConfig, with_config
from flexkd_platform.preflight import Preflight
from flexkd_platform.search import build_plan
from flexkd_platform.spec import JobSpec, Problem, load_spec

from ..conftest import BAD, GOOD, SPECIAL

NEUTRAL = ["film", "plot"]
WORDS = ("neg", "pos")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers with two or three outputs, named or not, and data with words and numbers."""
    folder = tmp_path_factory.mktemp("heads")
    for name, labels in {
        "same": ("Neg", "Pos"),
        "swapped": ("pos", "neg"),
        "other": ("good", "bad"),
        "three": ("neg", "neutral", "pos"),
        "unnamed": ("LABEL_0", "LABEL_1"),
        "one": ("LABEL_0",),
    }.items():
        _classifier(folder / name, labels)
    for name, labels in {"words": WORDS, "numbers": (0, 1), "scores": (0.5, 2.5)}.items():
        lines = [
            json.dumps({"text": [BAD, GOOD][n % 2][n % 3] + " plot" * n, "label": labels[n % 2]})
            for n in range(60)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def _classifier(folder: Path, labels: tuple[str, ...]) -> None:
    folder.mkdir()
    (folder / "words.txt").write_text("\n".join([*SPECIAL, *GOOD, *BAD, *NEUTRAL]))
    tokenizer = BertTokenizer(str(folder / "words.txt"))
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=32,
        max_position_embeddings=16,
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def spec_of(world: Path, teacher: str, data: str = "words", **changes: Any) -> JobSpec:
    spec: dict[str, Any] = {
        "name": "heads",
        "task": {
            "kind": "regression" if data == "scores" else "classification",
            "data": {"source": "files", "path": str(world / f"{data}.jsonl")},
            "max_length": 8,
        },
        "teacher": {"model": str(world / teacher)},
        "student": {"init": {"kind": "sliced", "layers": 1, "hidden_size": 8}},
        "sweep": {"methods": [{"kind": "kd"}], "seeds": [1]},
    }
    for path, value in changes.items():
        section, _, key = path.partition("_")
        spec[section] |= {key: value}
    file = world / "job.yaml"
    file.write_text(json.dumps(spec))
    return load_spec(file)


def problems(world: Path, teacher: str, data: str = "words", **changes: Any) -> list[Problem]:
    return Preflight().problems(spec_of(world, teacher, data, **changes))


def plan_of(world: Path, teacher: str, data: str = "words", **changes: Any) -> Plan:
    preflight = Preflight()
    spec = spec_of(world, teacher, data, **changes)
    assert preflight.problems(spec) == []
    return build_plan(spec, preflight.facts_of)


def teacher_of(plan: Plan) -> TeacherConfig:
    (step,) = with_config(plan.shared, TeacherConfig)
    return step.config


USES: dict[str, dict[str, Any]] = {"fine-tuned": {}, "as it is": {"teacher_finetune": None}}


@pytest.mark.parametrize("use", USES)
def test_a_head_is_ordered_by_its_names(world: Path, use: str) -> None:
    config = teacher_of(plan_of(world, "swapped", **USES[use]))
    assert config.head.order == (1, 0)
    assert config.to_identity()["head_order"] == [1, 0]
    assert config.reading.names == WORDS  # type: ignore[union-attr]
    same = teacher_of(plan_of(world, "same", **USES[use]))
    assert "head_order" not in same.to_identity()  # nothing differs from earlier versions


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("teacher", "data", "message"),
    [
        ("other", "words", "its head has the classes good, bad, and the data neg, pos"),
        ("three", "words", "its head has 3 outputs (neg, neutral, pos), but the data need 2"),
        ("three", "numbers", "its head has 3 outputs (neg, neutral, pos), but the data need 2"),
        ("one", "words", "its head has 1 output, but the data need 2"),
        ("three", "scores", "its head has 3 outputs (neg, neutral, pos), but the data need 1"),
    ],
)
def test_a_head_for_other_classes_is_refused(
    world: Path, use: str, teacher: str, data: str, message: str
) -> None:
    (problem,) = problems(world, teacher, data, **USES[use])
    assert (problem.path, problem.message) == ("teacher.model", message)
    assert "set teacher.head: new" in problem.remedy
    found = problems(world, teacher, data, teacher_head="new", **USES[use])
    assert [p.path for p in found] == (["teacher.head"] if use == "as it is" else [])


def test_a_pretrained_student_is_checked_as_its_teacher(world: Path) -> None:
    student = {"kind": "pretrained", "model": str(world / "other")}
    (problem,) = problems(world, "same", student_init=student)
    assert problem.path == "student.init.model"
    assert "set student.init.head: new" in problem.remedy
    plan_of(world, "same", student_init=student | {"head": "new"})
    swapped = student | {"model": str(world / "swapped")}
    (trial,) = plan_of(world, "same", student_init=swapped).trials
    assert trial.distill.identity["student"]["init"]["head_order"] == [1, 0]


def test_the_names_of_a_teacher_are_those_of_its_student(world: Path) -> None:
    """Of numbered data, whose classes have the names of the teacher's head."""
    student = {"kind": "pretrained", "model": str(world / "same")}
    (trial,) = plan_of(world, "swapped", "numbers", student_init=student).trials
    assert trial.distill.identity["student"]["init"]["head_order"] == [1, 0]
    (problem,) = problems(
        world, "other", "numbers", student_init=student | {"model": str(world / "same")}
    )
    assert problem.path == "student.init.model"


def test_missing_classes_of_a_wider_head_are_named(world: Path) -> None:
    spec = spec_of(world, "three", teacher_finetune=None, task_classes=3)
    assert Preflight().problems(spec) == []
    config = teacher_of(build_plan(spec, Preflight().facts_of))
    assert config.reading.names == ("neg", "pos", "neutral")  # type: ignore[union-attr]
    assert config.head.order == (0, 2, 1)


def test_numbered_data_take_the_names_of_their_teacher(world: Path) -> None:
    config = teacher_of(plan_of(world, "swapped", "numbers"))
    assert config.reading.names == ("pos", "neg")  # type: ignore[union-attr]
    assert config.head.order in ((), (0, 1))


@pytest.mark.parametrize(
    ("teacher", "data", "shown"),
    [
        ("swapped", "numbers", "0 is pos, 1 is neg"),
        ("unnamed", "words", "output 0 is neg, output 1 is pos"),
        ("same", "words", ""),
        ("unnamed", "numbers", ""),
    ],
)
def test_a_mapping_that_is_assumed_is_shown(
    world: Path, teacher: str, data: str, shown: str
) -> None:
    warnings = Preflight().warnings(spec_of(world, teacher, data))
    found = [warning.message for warning in warnings if warning.path == "teacher.model"]
    assert len(found) == bool(shown)
    assert not found or found[0].endswith(shown)


def test_label_names_rename_the_data(world: Path) -> None:
    names = {"neg": "bad", "pos": "good"}
    config = teacher_of(plan_of(world, "other", task_label_names=names))
    assert config.head.order == (1, 0)


def test_a_new_head_is_in_the_identity_where_the_old_one_would_fit(world: Path) -> None:
    assert teacher_of(plan_of(world, "same", teacher_head="new")).to_identity()["head"] == "new"
    wider = teacher_of(plan_of(world, "three", teacher_head="new"))
    assert "head" not in wider.to_identity()  # earlier versions drew one, too
