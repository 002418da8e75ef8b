"""Layers that are named twice, and models without any, as problems with their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexkd_platform.preflight import Preflight
from flexkd_platform.spec import Problem, load_spec

SPEC = """\
name: layered
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher}
student: {init: {kind: sliced, layers: 2, hidden_size: 8}}
sweep:
  methods: [{kind: cka}]
"""
CONFIG = "model_type: MODEL, hidden_size: 16, num_attention_heads: 2, intermediate_size: 32"


def problems(world: Path, folder: Path, *overrides: str) -> list[Problem]:
    file = folder / "job.yaml"
    file.write_text(SPEC.replace("WORLD", str(world)), encoding="utf-8")
    return Preflight().problems(load_spec(file, overrides))


@pytest.mark.parametrize(
    ("kind", "layers", "message", "remedy"),
    [
        ("cka", "{1: 2, -1: -1}", "layers 1: 2 and -1: -1 are the same pair", "name it once"),
        (
            "projector",
            "{1: 2, -1: 0}",
            "layers 1: 2 and -1: 0 use the same student layer, which has only one projector",
            "name each student layer once",
        ),
    ],
)
def test_layers_that_are_named_twice(
    kind: str, layers: str, message: str, remedy: str, tiny_world: Path, tmp_path: Path
) -> None:
    methods = f"sweep.methods=[{{kind: {kind}, layers: {layers}}}]"
    assert problems(tiny_world, tmp_path, methods) == [
        Problem("sweep.methods[0].layers", message, remedy)
    ]


def test_two_layers_of_the_teacher_for_one_of_the_student(tiny_world: Path, tmp_path: Path) -> None:
    assert (
        problems(tiny_world, tmp_path, "sweep.methods=[{kind: cka, layers: {1: 2, -1: 0}}]") == []
    )


NORMED = CONFIG.replace("MODEL", "llama") + ", num_hidden_layers: 3"
DEGENERATE = (
    "integrated gradients at layer 2, but a norm follows it: the output does not depend on the "
    "scale of this layer's hidden state"
)


@pytest.mark.parametrize(
    ("kind", "layer", "method", "paths"),
    [
        ("integrated_gradients", "2", "{kind: flexkd}", ["score.layer"]),
        ("integrated_gradients", "-1", "{kind: flexkd}", ["score.layer"]),
        ("integrated_gradients", "last", "{kind: flexkd}", []),
        ("integrated_gradients", "1", "{kind: flexkd}", []),
        ("gradient", "-1", "{kind: flexkd}", []),
        # A map selects from its own layers; `every` ends with last.
        (
            "integrated_gradients",
            "last",
            "{kind: flexkd, layers: {0: 1, 1: 2}}",
            ["sweep.methods[0].layers"],
        ),
        ("integrated_gradients", "last", "{kind: flexkd, layers: {0: 1, last: last}}", []),
        ("integrated_gradients", "last", "{kind: flexkd, layers: every}", []),
        # A method that selects no units needs no scores of its layers.
        ("integrated_gradients", "last", "{kind: cka, layers: {1: 2}}", []),
        ("integrated_gradients", "last", "{kind: flexkd, layers: {1: 2}, alpha: 0, beta: 1}", []),
    ],
)
def test_integrated_gradients_before_a_norm(
    kind: str, layer: str, method: str, paths: list[str], tiny_world: Path, tmp_path: Path
) -> None:
    """The output does not depend on the scale that they integrate over."""
    found = problems(
        tiny_world,
        tmp_path,
        f"teacher.model={{config: {{{NORMED}}}}}",
        "student.init.weights=finetuned",
        f"score={{kind: {kind}, layer: {layer}}}",
        f"sweep.methods=[{method}]",
    )
    remedy = "name last, which is after the norm, or an earlier layer"
    assert found == [Problem(path, DEGENERATE, remedy) for path in paths]


@pytest.mark.parametrize("layer", ["2", "-1", "last"])
def test_integrated_gradients_at_the_end_of_a_bert(
    layer: str, tiny_world: Path, tmp_path: Path
) -> None:
    """No norm follows its last layer: its output is what the head reads."""
    score = f"score={{kind: integrated_gradients, layer: {layer}}}"
    assert problems(tiny_world, tmp_path, score, "sweep.methods=[{kind: flexkd}]") == []


def test_a_teacher_without_layers_is_one_problem(tiny_world: Path, tmp_path: Path) -> None:
    """It said "give 1 to 0" of the student, and "layers are 0 to -1" of what is scored."""
    config = f"{{{CONFIG.replace('MODEL', 'bert')}, num_hidden_layers: 0}}"
    assert problems(tiny_world, tmp_path, f"teacher.model={{config: {config}}}") == [
        Problem(
            "teacher.model.config",
            "this model has 0 layers",
            "name a model with at least 1 layer",
        )
    ]
