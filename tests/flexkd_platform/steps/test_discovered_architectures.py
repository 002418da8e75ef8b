"""Architectures without an entry, as teachers and as pretrained students of every task."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from flexkd_platform.artifacts import read_rows
from flexkd_platform.models import load_saved
from flexkd_platform.preflight import Preflight
from flexkd_platform.spec import load_spec
from flexkd_platform.steps import run_step
from flexkd_platform.store import open_store

from ..lab import Lab
from ..tiny_models import saved
from ..worlds import GENERATION, MAX_LENGTH, MAX_PROMPT, MAX_RESPONSE, write_examples

CASES = [
    ("camembert", "classification"),
    ("roformer", "regression"),
    ("bloom", "classification"),
    ("gptj", "regression"),
    ("codegen", "instruction"),
    ("mpt", "instruction"),
    ("mamba", "instruction"),
    ("marian", "summarization"),
]
AUTOS: dict[str, Any] = {
    "classification": AutoModel,
    "regression": AutoModel,
    "instruction": AutoModelForCausalLM,
    "summarization": AutoModelForSeq2SeqLM,
}


def job(task: str, **sections: Any) -> str:
    """A job whose student is a model of its own; {data}, {teacher} stand for folders."""
    lengths = (
        {"max_prompt": MAX_PROMPT, "max_response": MAX_RESPONSE}
        if task in GENERATION
        else {"max_length": MAX_LENGTH}
    )
    recipe = {"batch_size": 12, "learning_rate": 3e-3, "epochs": 1}
    spec: dict[str, Any] = {
        "name": "discovered",
        "task": {"kind": task, "data": {"source": "files", "path": "DATA"}, **lengths},
        "teacher": {"model": "TEACHER", "finetune": recipe},
        "student": {"init": {"kind": "pretrained", "model": "STUDENT"}},
        "score": {"chunk": 5},
        "distill": recipe,
        "sweep": {"methods": [{"kind": "kd"}], "seeds": [10]},
    }
    if task in GENERATION:
        spec["evaluate"] = {"decoding": {"kind": "greedy"}, "max_new_tokens": 3}
    text = yaml.safe_dump({**spec, **sections})
    return (
        text.replace("{", "{{")
        .replace("}", "}}")
        .replace("DATA", "{data}")
        .replace("TEACHER", "{teacher}")
    )


@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_a_teacher_is_scored_and_teaches_a_pretrained_student(
    architecture: str, task: str, tmp_path: Path
) -> None:
    write_examples(tmp_path / "reviews", task)
    saved(tmp_path / "teacher", architecture, AUTOS[task])
    student = saved(tmp_path / "student", architecture, AUTOS[task])
    text = job(task).replace("STUDENT", str(student))
    lab = Lab(tmp_path, open_store(str(tmp_path / "storage")), text)
    trial = lab.trial("{kind: flexkd, layers: {0: 0, last: last}, alpha: 0.5, beta: 0.5}")
    folder = lab.run(trial)
    model, _ = load_saved(folder / "model")
    assert model.config.model_type == architecture
    log = lab.store.manifest(trial.distill).summary["metrics"]
    assert all(math.isfinite(value) for value in log.values())
    metrics = lab.store.manifest(trial.evaluate).summary["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    rows = read_rows(lab.store.folder(trial.evaluate.needs["dataset"]), "test")
    assert len(rows) == 5


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "job.yaml"
    filled = text.format(data=folder / "reviews", teacher=folder / "teacher")
    file.write_text(filled.replace("STUDENT", str(folder / "student")), encoding="utf-8")
    return [str(problem) for problem in Preflight().problems(load_spec(file))]


@pytest.mark.parametrize(
    ("init", "says"),
    [
        ({"kind": "sliced", "layers": 2, "hidden_size": 8}, "sliced, but how a bloom model is cut"),
        ({"kind": "aligned", "layers": 2, "hidden_size": 8}, "aligned, but how a bloom model is c"),
        ({"kind": "random", "layers": 2, "hidden_size": 8}, "random, but how a bloom model is mad"),
    ],
)
def test_it_is_not_cut(init: dict[str, Any], says: str, tmp_path: Path) -> None:
    write_examples(tmp_path / "reviews", "classification")
    saved(tmp_path / "teacher", "bloom", AutoModel)
    (problem,) = problems(tmp_path, job("classification", student={"init": init}))
    assert problem.startswith(f"student.init.kind: {says}")
    assert "set kind: pretrained" in problem


@pytest.mark.parametrize(
    ("architecture", "task", "says"),
    [
        ("codegen", "classification", "transformers has no classification head for codegen"),
        ("camembert", "instruction", "it reads the whole text before each token"),
        ("camembert", "summarization", "summarization is for an encoder–decoder"),
        ("marian", "classification", "an encoder–decoder, which is not supported"),
    ],
)
def test_a_task_that_the_architecture_does_not_do(
    architecture: str, task: str, says: str, tmp_path: Path
) -> None:
    write_examples(tmp_path / "reviews", task)
    for name in ("teacher", "student"):
        auto = AutoModelForCausalLM if architecture == "codegen" else AutoModel
        saved(tmp_path / name, architecture, auto)
    found = problems(tmp_path, job(task))
    assert len(found) == 2  # the teacher's and the student's
    assert all(says in problem for problem in found)


def test_paths_that_the_spec_names_are_part_of_a_step(tmp_path: Path) -> None:
    """The identity is another one with them, and the one of before without."""
    write_examples(tmp_path / "reviews", "classification")
    for name in ("teacher", "student"):
        saved(tmp_path / name, "camembert", AutoModelForSequenceClassification, num_labels=3)
    text = job("classification").replace("STUDENT", str(tmp_path / "student"))
    lab = Lab(tmp_path, open_store(str(tmp_path / "storage")), text)
    named = "{layers: encoder.layer}"
    plain, theirs, ours = (
        lab.plan(*overrides)
        for overrides in (
            (),
            (f"teacher.modules={named}",),
            (f"student.init.modules={named}",),
        )
    )
    teachers = [lab.step(plan, "teacher").hash for plan in (plain, theirs, ours)]
    assert teachers[0] == teachers[2] != teachers[1]
    assert plain.trials[0].distill.hash != ours.trials[0].distill.hash
    for kind in ("dataset", "teacher"):
        list(run_step(lab.step(theirs, kind), lab.store, 1))


def test_paths_for_a_model_that_is_created_are_refused(tmp_path: Path) -> None:
    write_examples(tmp_path / "reviews", "instruction")
    config = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 32}
    teacher = {"model": {"config": config, "vocab_size": 400}, "modules": {"layers": "h"}}
    init = {"kind": "random", "layers": 1, "hidden_size": 8}
    text = job("instruction", teacher=teacher, student={"init": init})
    (problem,) = [each for each in problems(tmp_path, text) if "modules" in each]
    assert problem.startswith("teacher.modules: given, but the model is created from a config")
