"""Check whether a student can be created from its teacher, and determine its facts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ..model_info import ModelFacts
from ..model_info.errors import ModelError
from ..model_info.families import embedding_size, family_of, width_step
from ..spec import CutInit, PretrainedInit, Problem, RandomInit, StudentInit, counted, sha256_of
from .check import check_model
from .config_facts import bad_config, config_of, facts_of, meta_backbone
from .student import kept_layers, narrower_config, smaller_config


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
        if problems := _check_cut(init, teacher, path):
            return None, problems
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
    if isinstance(init, PretrainedInit):
        return facts, []
    try:
        return _derived(init, teacher), []
    except ModelError as error:  # a size that the architecture itself refuses
        return None, [Problem(f"{path}.hidden_size", error.message, "give another width")]


def _check_cut(init: CutInit | RandomInit, teacher: ModelFacts, path: str) -> list[Problem]:
    """A problem if this architecture is not cut at all."""
    why = family_of(teacher.model_type).not_cut
    if why is None or not isinstance(init, CutInit):
        return []
    return [
        Problem(
            f"{path}.kind",
            f"no student can be cut from an architecture like {teacher.model_type}: {why}",
            "use kind: random or kind: pretrained, or another teacher",
        )
    ]


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
    key = family_of(config.model_type).key_value_heads
    if key is not None:
        given, held = (
            getattr(each, key) for each in (narrower_config(config, init.hidden_size), config)
        )
        if given > held:
            return [
                Problem(
                    f"{path}.hidden_size",
                    f"a width of {init.hidden_size} needs {given} key-value heads, and the "
                    f"teacher has {held}",
                    f"give a multiple of {_whole_groups(config, held)}, which keeps the groups of "
                    "its heads whole",
                )
            ]
    embedding = embedding_size(config)
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


def _whole_groups(config: Any, key_values: int) -> int:
    """The least width whose multiples keep as many whole groups of heads, one or more."""
    step = width_step(config)
    if step > 1:
        return step * int(config.num_attention_heads // key_values)
    # The heads' total width is not the hidden size: a group has its share of the hidden units.
    return math.ceil(int(config.hidden_size) / key_values)


def _check_layers(init: CutInit, teacher: ModelFacts, path: str) -> list[Problem]:
    fewest = min(stack.layers for stack in teacher.stacks)
    if isinstance(init.layers, int):
        if 0 < init.layers <= fewest:
            return []
        return [
            Problem(
                f"{path}.layers",
                f"the student has {counted(init.layers, 'layer')}, its teacher {fewest}",
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
    """The student's facts; ModelError if the architecture has no model of this size."""
    config = smaller_config(config_of(teacher), init)
    try:
        config.validate()
    except Exception as error:  # its checks raise errors without a common base
        raise bad_config(f"a {config.model_type} student of this size", error) from error
    config.architectures = None  # the teacher's head is not the student's
    facts = facts_of(
        config,
        fingerprint=sha256_of({"teacher": teacher.fingerprint, "init": init.to_json()}),
        tokenizer_digest=teacher.tokenizer_digest,
        shapes={},
        backbone=meta_backbone(config),
    )
    return replace(facts, language_model=teacher.language_model)
