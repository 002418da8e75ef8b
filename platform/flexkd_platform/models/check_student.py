"""Whether a student can be made from its teacher, and what it will be."""

from __future__ import annotations

from typing import assert_never

from flexkd_platform.spec import (
    PretrainedInit,
    Problem,
    RandomInit,
    SlicedInit,
    StudentInit,
    sha256_of,
)

from .check import check_model
from .errors import ModelError
from .facts import ModelFacts, config_of, facts_of, meta_backbone
from .layers import Layer, layer_index
from .slicing import SLICES
from .student import kept_layers, smaller_config


def check_layer(layer: Layer, facts: ModelFacts, *, path: str = "score.layer") -> list[Problem]:
    """The problem with a layer that a model does not have."""
    try:
        layer_index(layer, facts)
    except ModelError as error:
        return [Problem(path, error.message, error.remedy)]
    return []


def check_student(
    init: StudentInit, teacher: ModelFacts, *, must_fit: bool, path: str = "student.init"
) -> tuple[ModelFacts | None, list[Problem]]:
    """Check a student against its teacher.

    Args:
        init: where the student comes from.
        teacher: the pretrained teacher.
        must_fit: whether it may not be wider than its teacher, as Flex-KD needs: it gives every
            unit of the student one of the teacher's.
        path: of `init` in the spec.

    Returns:
        The student's facts, or None if there are problems; and all problems. The fingerprint of
        a sliced or random student is a SHA-256 over its teacher's and `init`.
    """
    match init:
        case PretrainedInit():
            facts, problems = check_model(init.model, init.revision, path=f"{path}.model")
            width, key = (facts.hidden_size if facts else 0), f"{path}.model"
        case SlicedInit() | RandomInit():
            facts = None
            problems = _check_heads(init, teacher, path)
            width, key = init.hidden_size, f"{path}.hidden_size"
        case _:
            assert_never(init)
    if isinstance(init, SlicedInit):
        problems += _check_slices(init, teacher, path)
    if width > teacher.hidden_size and (must_fit or isinstance(init, SlicedInit)):
        why = "a slice" if isinstance(init, SlicedInit) else "Flex-KD's student"
        problems.append(
            Problem(
                key,
                f"the student is {width} wide, its teacher {teacher.hidden_size}",
                f"{why} may not be wider than its teacher",
            )
        )
    if problems:
        return None, problems
    return facts if isinstance(init, PretrainedInit) else _derived(init, teacher), []


def _check_heads(init: SlicedInit | RandomInit, teacher: ModelFacts, path: str) -> list[Problem]:
    if init.hidden_size % teacher.head_size == 0:
        return []
    below = init.hidden_size // teacher.head_size * teacher.head_size
    near = " or ".join(str(width) for width in (below, below + teacher.head_size) if width)
    return [
        Problem(
            f"{path}.hidden_size",
            f"a width of {init.hidden_size} is no whole number of the teacher's attention heads, "
            f"which are {teacher.head_size} wide",
            f"give a multiple of {teacher.head_size}, as {near}",
        )
    ]


def _check_slices(init: SlicedInit, teacher: ModelFacts, path: str) -> list[Problem]:
    if teacher.model_type not in SLICES:
        return [
            Problem(
                f"{path}.kind",
                f"the teacher is a {teacher.model_type} model, which cannot be sliced",
                f"sliced works for {', '.join(SLICES)}; use random or pretrained",
            )
        ]
    if isinstance(init.layers, int):
        if 0 < init.layers <= teacher.layers:
            return []
        return [
            Problem(
                f"{path}.layers",
                f"the student has {init.layers} layers, its teacher {teacher.layers}",
                f"give 1 to {teacher.layers}, or a list of the teacher's layers",
            )
        ]
    try:
        kept = kept_layers(init, teacher.layers)
    except ModelError as error:
        return [Problem(f"{path}.layers", error.message, error.remedy)]
    if not kept or kept != sorted(set(kept)):
        return [
            Problem(
                f"{path}.layers",
                f"{list(init.layers)} does not name layers in ascending order, each once",
                f"name at least one of 0 to {teacher.layers - 1}, lowest first",
            )
        ]
    return []


def _derived(init: SlicedInit | RandomInit, teacher: ModelFacts) -> ModelFacts:
    config = smaller_config(config_of(teacher), init)
    config.architectures = None  # the teacher's head is not the student's
    return facts_of(
        config,
        fingerprint=sha256_of({"teacher": teacher.fingerprint, "init": init.to_json()}),
        shapes={},
        backbone=meta_backbone(config),
    )
