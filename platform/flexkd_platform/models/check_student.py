"""Check whether a student can be created from its teacher, and determine its facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..model_info import ModelFacts
from ..model_info.errors import ModelError
from ..model_info.families import family_of_config, width_step
from ..spec import CutInit, PretrainedInit, Problem, RandomInit, StudentInit, sha256_of
from .check import check_model
from .config_facts import config_of, facts_of, meta_backbone
from .student import kept_layers, smaller_config


def check_student(
    init: StudentInit, teacher: ModelFacts, *, must_fit: bool, path: str = "student.init"
) -> tuple[ModelFacts | None, list[Problem]]:
    """Check a student against its teacher.

    Args:
        init: where the student comes from.
        teacher: the pretrained teacher.
        must_fit: whether it must not be wider than its teacher, as Flex-KD requires: it pairs every
            unit of the student with one of the teacher's.
        path: of `init` in the spec.

    Returns:
        The student's facts, or None if there are problems; and all problems. The fingerprint of
        a sliced or random student is a SHA-256 over its teacher's and `init`.
    """
    if not isinstance(init, PretrainedInit) and teacher.discovered:
        return None, [_no_rules(init, teacher, path)]
    if isinstance(init, PretrainedInit):
        facts, problems = check_model(
            init.model, init.revision, path=f"{path}.model", modules=init.modules
        )
        width, key = (facts.hidden_size if facts else 0), f"{path}.model"
    else:
        facts = None
        problems = _check_width(init, teacher, path)
        width, key = init.hidden_size, f"{path}.hidden_size"
    if isinstance(init, CutInit):
        problems += _check_layers(init, teacher, path)
    if width > teacher.hidden_size and (must_fit or isinstance(init, CutInit)):
        why = "a slice" if isinstance(init, CutInit) else "Flex-KD's student"
        problems.append(
            Problem(
                key,
                f"the student has width {width}, its teacher {teacher.hidden_size}",
                f"{why} may not be wider than its teacher",
            )
        )
    if problems:
        return None, problems
    return facts if isinstance(init, PretrainedInit) else _derived(init, teacher), []


def _no_rules(init: CutInit | RandomInit, teacher: ModelFacts, path: str) -> Problem:
    how = "made smaller" if isinstance(init, RandomInit) else "cut"
    kind = init.to_json()["kind"]
    return Problem(
        f"{path}.kind",
        f"{kind}, but how a {teacher.model_type} model is {how} is not known",
        "set kind: pretrained, or name a teacher of another architecture; flexkd list models "
        "names those that can be cut",
    )


def _check_width(init: CutInit | RandomInit, teacher: ModelFacts, path: str) -> list[Problem]:
    config = config_of(teacher)
    step = width_step(config)
    if init.hidden_size % step:
        below = init.hidden_size // step * step
        near = " or ".join(str(width) for width in (below, below + step) if width)
        return [
            Problem(
                f"{path}.hidden_size",
                f"a width of {init.hidden_size} is not a multiple of {step}, the width of the "
                "teacher's attention heads",
                f"give a multiple of {step}, as {near}",
            )
        ]
    if not isinstance(init, CutInit) or init.hidden_size > teacher.hidden_size:
        return []
    return _check_cut_width(init, config, path)


def _check_cut_width(init: CutInit, config: Any, path: str) -> list[Problem]:
    """Problems of widths that are valid for a model, but cannot be cut from this teacher."""
    family, small = family_of_config(config), smaller_config(config, init)
    if family.key_value_heads is not None:
        given, held = (getattr(each, family.key_value_heads) for each in (small, config))
        if given > held:
            group = width_step(config) * (config.num_attention_heads // held)
            return [
                Problem(
                    f"{path}.hidden_size",
                    f"a width of {init.hidden_size} needs {given} key-value heads, and the "
                    f"teacher has {held}",
                    f"give a multiple of {group}, which keeps the groups of its heads whole",
                )
            ]
    if family.embedding_size is not None:
        embedding = getattr(config, family.embedding_size)
        if embedding == init.hidden_size < config.hidden_size:
            return [
                Problem(
                    f"{path}.hidden_size",
                    f"the teacher projects a word embedding of width {embedding}, and a student of "
                    "this width would not have the projection",
                    "give another width, or use random",
                )
            ]
    return []


def _check_layers(init: CutInit, teacher: ModelFacts, path: str) -> list[Problem]:
    fewest = min(stack.layers for stack in teacher.stacks)
    if isinstance(init.layers, int):
        if 0 < init.layers <= fewest:
            return []
        return [
            Problem(
                f"{path}.layers",
                f"the student has {init.layers} layers, its teacher {fewest}",
                f"give 1 to {fewest}, or a list of the teacher's layers",
            )
        ]
    try:
        kept_by_stack = kept_layers(init, config_of(teacher))
    except ModelError as error:
        return [Problem(f"{path}.layers", error.message, error.remedy)]
    if not all(kept and kept == sorted(set(kept)) for kept in kept_by_stack.values()):
        return [
            Problem(
                f"{path}.layers",
                f"{list(init.layers)} does not name layers in ascending order, each once",
                f"name at least one of 0 to {fewest - 1}, lowest first",
            )
        ]
    return []


def _derived(init: CutInit | RandomInit, teacher: ModelFacts) -> ModelFacts:
    config = smaller_config(config_of(teacher), init)
    config.architectures = None  # the teacher's head is not the student's
    facts = facts_of(
        config,
        fingerprint=sha256_of({"teacher": teacher.fingerprint, "init": init.to_json()}),
        tokenizer_digest=teacher.tokenizer_digest,
        shapes={},
        backbone=meta_backbone(config),
    )
    return replace(facts, language_model=teacher.language_model)
