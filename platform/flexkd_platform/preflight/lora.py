"""Checks of `student.lora`, and of quantised students, which only an adapter can train."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from ..model_info import ModelError, locate
from ..model_info.adapter import base_folder
from ..model_info.checkpoint import CONFIG
from ..model_info.quantised import quantisation_of
from ..spec import JobSpec, PretrainedInit, Problem, RandomInit

LORA = "student.lora"


def lora_problems(spec: JobSpec) -> Iterator[Problem]:
    """The problems of an adapter that do not depend on the student's architecture."""
    student, resources = spec.student, spec.resources
    if student.lora is None:
        yield from _quantised_problems(spec)
        return
    if find_spec("peft") is None:
        yield Problem(
            LORA,
            "an adapter, but the package peft is not installed",
            "pip install 'flexkd[peft]', on every machine of the cluster; or leave lora out",
        )
    if isinstance(student.init, RandomInit):
        yield Problem(
            LORA,
            "an adapter of a random student: its other weights would stay random",
            "use init: sliced, aligned or pretrained; or leave lora out",
        )
    if student.warm_up is not None:
        yield Problem(
            "student.warm_up",
            "a warm-up, but student.lora trains one adapter from its start",
            "leave warm_up or lora out; or warm up in a job of its own (lora with export: merged), "
            "and name its student as init.model",
        )
    if resources.parallel == "fsdp" and resources.most_workers > 1:
        yield Problem(
            "resources.parallel",
            "fsdp, but the student trains an adapter, which is not sharded",
            "use resources.parallel: ddp, or leave student.lora out",
        )


def _quantised_problems(spec: JobSpec) -> Iterator[Problem]:
    init = spec.student.init
    if not isinstance(init, PretrainedInit):
        return
    try:
        source = locate(init.model, init.revision)
        found = quantisation_of(base_folder(source) / CONFIG) if isinstance(source, Path) else None
    except ModelError:
        return  # reported by the check of the model
    if found is not None:
        yield Problem(
            "student.init.model",
            f"{init.model} is quantised ({found}), and quantised weights cannot be trained",
            "name the model before it was quantised, or set student.lora to train an adapter on "
            "the dequantised weights",
        )
