"""Kinds of steps and their configs: one table each, real types, plain JSON, and no key read."""

from __future__ import annotations

import ast
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import flexkd_platform
from flexkd_platform.plan import (
    KINDS,
    DistillConfig,
    ImportanceConfig,
    OfflineTeacher,
    OnlineTeacher,
    Plan,
    SelectConfig,
    Step,
    StepConfig,
    StepKind,
    TrainingRecipe,
    register_kind,
    with_config,
)
from flexkd_platform.spec import Distill, FineTune, JobSpec, Score
from flexkd_platform.steps import RUN

from .conftest import Planner

PACKAGE = Path(flexkd_platform.__file__).parent
KINDS_FOLDER = PACKAGE / "plan" / "kinds"


def every_step(plan: Planner, writing: Planner) -> list[Step]:
    """Steps of every kind: of labels and of text, with all that is optional."""
    blank = {"teacher.model": {"config": {"model_type": "gpt2"}, "vocab_size": 400}}
    warm = {"student.warm_up": {"epochs": 1}}
    aligned = {"student.init": {"kind": "aligned", "layers": 2, "hidden_size": 16}}
    plans: list[Plan] = [
        plan(),
        plan({"score": {"aggregation": "batch", "every": 3}, **warm}),
        writing("instruction", blank),
        writing("summarization", {**aligned, "evaluate": {"metrics": ["rouge2", "bertscore"]}}),
    ]
    steps = [step for each in plans for step in each.steps()]
    assert {step.kind for step in steps} == set(KINDS)
    return steps


def test_every_kind_has_a_file_a_config_and_a_function(plan: Planner, writing: Planner) -> None:
    files = {path.stem for path in KINDS_FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(KINDS) == set(RUN)
    for step in every_step(plan, writing):
        config = type(step.config)
        assert config.__module__.rpartition(".")[2] == step.kind
        assert config.kind is KINDS[step.kind]
        assert callable(import_module(f"flexkd_platform.steps.{step.kind}").run)


def test_every_label_is_one_of_its_own() -> None:
    labels = [kind.label for kind in KINDS.values()]
    assert len(set(labels)) == len(labels) == 10


TEACHER = {"parameters": 1234, "metrics": {"test/accuracy": 0.5, "validation/f1": 0.25}}
WRITER = {"parameters": 1234, "metrics": {"test/nll": 2.5, "validation/nll": 2}}
SCORE = {"examples": 1500, "digest": "0123456789abcdef"}


@pytest.mark.parametrize(
    ("kind", "summary", "metric", "line"),
    [
        (
            "dataset",
            {"train": {"rows": 3000, "skipped": 2}, "test": {"rows": 50, "skipped": 0}},
            "",
            "train 3,000 (2 empty ones skipped), test 50",
        ),
        ("base", {}, "", ""),
        ("teacher", TEACHER, "test/accuracy", "1,234 parameters, test/accuracy 0.5000"),
        ("teacher", TEACHER, "validation/f1", "1,234 parameters, validation/f1 0.2500"),
        ("teacher", TEACHER, "", "1,234 parameters, test/accuracy 0.5000"),
        ("teacher", WRITER, "validation/rougeL", "1,234 parameters, validation/nll 2.0000"),
        ("score", SCORE, "", "1,500 examples, G 0123456789ab"),
        (
            "score",
            {**SCORE, "geometry": {"effective_dimension": 7}},
            "",
            "1,500 examples, G 0123456789ab, effective dimension 7",
        ),
        (
            "score",
            {
                **SCORE,
                "geometry": {
                    "effective_dimension": 7,
                    "effective_dimension_error": 1.5,
                    "rows": 1_500,
                    "units": 2_048,
                },
            },
            "",
            "1,500 examples, G 0123456789ab, effective dimension 7 ± 1.5 "
            "(warning: 1,500 gradients for 2,048 units)",
        ),
        (
            "select",
            {"d_student": 16, "d_teacher": 32, "kept_share": 0.756},
            "",
            "16 of 32 units, 76% of ΣG",
        ),
        (
            "select",
            {"d_student": 16, "d_teacher": 32, "kept_share": 0.7, "stability": {"units": 0.875}},
            "",
            "16 of 32 units, 70% of ΣG, overlap of two halves 0.88",
        ),
        ("evaluate", TEACHER, "", "test/accuracy 0.5000, validation/f1 0.2500"),
        ("warm_up", WRITER, "", "test/nll 2.5000, validation/nll 2.0000"),
    ],
)
def test_a_result_is_shown_in_a_line(
    kind: str, summary: dict[str, Any], metric: str, line: str
) -> None:
    assert KINDS[kind].summary_line(summary, metric) == line


def test_planning_needs_no_torch() -> None:
    code = "import sys, flexkd_platform.plan; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_kind_is_registered_once() -> None:
    kind = KINDS["teacher"]
    assert register_kind(kind) is kind
    with pytest.raises(
        ValueError, match="the step kind 'teacher' is already registered; use another name"
    ):
        register_kind(StepKind("teacher", 1, "another", "driver"))
    assert KINDS["teacher"] is kind


# --- configs -----------------------------------------------------------------------------------


def test_an_identity_is_plain_json(plan: Planner, writing: Planner) -> None:
    for step in every_step(plan, writing):
        assert json.loads(json.dumps(step.config.to_identity())) == step.identity
        assert step.config.to_identity() is not step.identity  # nobody's changes reach the hash


def test_a_step_has_its_hash_wherever_it_is_sent(plan: Planner, writing: Planner) -> None:
    for step in every_step(plan, writing):
        sent = pickle.loads(pickle.dumps(Step(step.config)))
        assert sent.hash == step.hash
        assert type(sent.config) is type(step.config)


def test_configs_are_frozen_and_have_real_types(plan: Planner, writing: Planner) -> None:
    checked = set()
    for step in every_step(plan, writing):
        for field in dataclasses.fields(step.config):  # type: ignore[arg-type]
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(step.config, field.name, None)
            assert "Any" not in str(field.type), field
            assert "dict" not in str(field.type), field
            checked.add((step.kind, field.name))
    assert len(checked) > 40


def test_every_needed_step_is_a_field_of_the_config(plan: Planner, writing: Planner) -> None:
    """A role is for the hash and for people: what is read is typed."""

    def steps_in(value: Any) -> Iterator[Step]:
        if isinstance(value, Step):
            yield value
        elif isinstance(value, tuple):
            for each in value:
                yield from steps_in(each)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                yield from steps_in(getattr(value, field.name))

    for step in every_step(plan, writing):
        found = {each.hash for each in steps_in(step.config)}
        assert found <= {each.hash for each in step.needs.values()} | {step.hash}
        # The data set of a teacher or of a model is that of those who read it.
        others = {role for role, each in step.needs.items() if each.hash not in found}
        assert others <= {"dataset"}


def test_a_config_is_no_step_kind_by_itself() -> None:
    with pytest.raises(TypeError, match="abstract"):
        StepConfig()  # type: ignore[abstract]


# --- what a setting that is not read does to an identity -----------------------------------------


@pytest.mark.parametrize(
    ("score", "identity"),
    [
        (Score(), {"kind": "gradient", "output": "predicted_logit"}),
        (Score(output="loss", steps=4, seed=3), {"kind": "gradient", "output": "loss"}),
        (Score(kind="activation", output="loss", steps=4, seed=3), {"kind": "activation"}),
        (Score(kind="random", output="loss", steps=4, seed=3), {"kind": "random", "seed": 3}),
        (
            Score(kind="integrated_gradients", steps=4, seed=3),
            {"kind": "integrated_gradients", "output": "predicted_logit", "steps": 4},
        ),
    ],
)
def test_importance_has_the_settings_that_its_kind_reads(
    score: Score, identity: dict[str, Any]
) -> None:
    found = ImportanceConfig.of(score, "classification")
    assert found.to_identity() == identity
    # Equal identities are equal configs: what is not read has its default.
    assert ImportanceConfig(**identity) == found


def test_a_recipe_is_the_section_that_it_is_made_from() -> None:
    """As JSON has it: a default of 2 epochs is 2.0, and a precision of fp32 is left out."""
    settings = FineTune(learning_rate=1e-3)
    expected = {k: v for k, v in settings.to_json().items() if k != "precision"}
    found = TrainingRecipe.of(settings, settings.seed)
    assert json.dumps(found.to_identity(), sort_keys=True) == json.dumps(expected, sort_keys=True)
    narrow = TrainingRecipe.of(Distill(precision="bf16"), seed=7)
    assert narrow.to_identity()["precision"] == "bf16"
    assert isinstance(narrow.epochs, float)
    assert narrow.seed == 7


def test_a_teacher_signal_is_offline_or_online(plan: Planner) -> None:
    def distills(changes: dict[str, Any]) -> dict[str, DistillConfig]:
        return {t.method: t.distill.config for t in plan(changes).trials if t.seed == 10}

    offline, online = distills({}), distills({"distill": {"teacher_cache": "off"}})
    for method, config in offline.items():
        if method == "ft":
            assert config.teacher is None
            assert online[method].teacher is None
            continue
        assert isinstance(config.teacher, OfflineTeacher)
        held = [cache.config.holds for cache in config.teacher.caches]
        layers = [theirs for _, theirs in config.layers]
        assert [holds for holds in held if holds != "outputs"] == layers
        assert isinstance(online[method].teacher, OnlineTeacher)


def test_selections_are_of_the_layers_that_are_compared(writing: Planner) -> None:
    changes = {"sweep.methods": [{"kind": "flexkd", "layers": "every"}]}
    config = writing("summarization", changes).trials[0].distill.config
    layers = [theirs for _, theirs in config.layers]
    assert [chosen.config.layer for chosen in config.selections] == layers
    assert len(layers) == 4


def test_steps_are_found_by_their_config(plan: Planner) -> None:
    shared = plan().shared
    assert with_config(shared, SelectConfig) == [s for s in shared if s.kind == "select"] != []


# --- steps of another package in a plan ----------------------------------------------------------


def test_a_plan_has_room_for_steps_of_another_package(plan: Planner, spec: JobSpec) -> None:
    known = plan()
    more = plan({"student.warm_up": {"epochs": 3}}).trials[0].distill.config.start
    assert more is not None
    assert more.hash not in {step.hash for step in known.steps()}
    found = dataclasses.replace(known, extra=(more,))
    assert more in found.shared
    assert {step.hash for step in found.steps()} == {step.hash for step in known.steps()} | {
        more.hash
    }


# --- the rules of the code -----------------------------------------------------------------------


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its path."""
    found = {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in PACKAGE.rglob("*.py")
    }
    assert len(found) > 200
    return found


def test_nobody_reads_an_identity_by_its_keys() -> None:
    """The identity is for the hash, for the manifest, and for the settings of a trial."""
    readers = {
        path
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and node.attr in {"identity", "to_identity"}
        if not path.startswith("plan/kinds/")
    }
    assert readers == {"plan/step.py", "store/manifest.py"}


def test_nothing_is_parsed_again_in_a_step() -> None:
    for path, module in modules().items():
        names = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
        if not path.startswith(("steps/", "executors/", "job/", "search/", "plan/")):
            continue
        assert "TypeAdapter" not in names, path
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            inner = [ast.unparse(arg) for arg in call.args]
            if ast.unparse(call.func) == "json.loads":
                assert not any(text.startswith("json.dumps") for text in inner), path


def test_no_step_imports_another() -> None:
    """They meet through artifacts: the table alone knows every function."""
    for kind in KINDS:
        module = modules()[f"steps/{kind}.py"]
        imported = {node.module for node in ast.walk(module) if isinstance(node, ast.ImportFrom)}
        assert not imported & set(KINDS), kind
