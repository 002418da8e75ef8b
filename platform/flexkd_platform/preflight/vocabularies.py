"""Methods that compare the outputs of models entry by entry, or in sorted order."""

from __future__ import annotations

from collections.abc import Iterator

from ..data import DataFacts
from ..model_info import ModelFacts
from ..spec import (
    InstructionTask,
    JobSpec,
    MultilabelTask,
    PretrainedInit,
    Problem,
    ResponseTask,
)

SAME = "use models with the same tokenizer"


def tokenizer_problems(
    spec: JobSpec, model: str, teacher: ModelFacts, student: ModelFacts
) -> Iterator[Problem]:
    """The problems of a pretrained student whose tokenizer is not its teacher's.

    Tokens are aligned by the characters that were read, which takes the offset mapping of both
    tokenizers; a logit loss must not compare entry by entry, and no model may read the other's
    tokens.

    model: the student's name in messages.
    """
    differs = f"{model} has a different tokenizer from its teacher"
    listening = [m.kind for m in spec.sweep.methods if m.uses_features or m.uses_outputs]
    if listening and not (teacher.offsets and student.offsets):
        whose = f"the tokenizer of {model}" if teacher.offsets else "the teacher's tokenizer"
        yield Problem(
            "student.init.model",
            f"{differs}, and {whose} does not map tokens to characters, by which {listening[0]} "
            "aligns them",
            f"{SAME}, fast tokenizers (tokenizer.json), or seqkd, which compares texts",
        )
    for place, method in enumerate(spec.sweep.methods):
        path = f"sweep.methods[{place}]"
        if method.draws is not None and (method.uses_features or method.uses_outputs):
            yield Problem(
                f"{path}.on_policy",
                f"{differs}, and on sampled responses the teacher reads the student's tokens",
                f"leave on_policy out, or {SAME}",
            )
        term = method.logit_term
        if method.uses_outputs and term is not None and not term.any_vocabulary:
            key = method.logit_path[0]
            inside = key == "kind"
            yield Problem(
                f"{path}.{key}",
                f"{differs}, and {term.name} compares the same entries of one vocabulary",
                f"use {'kind: uld' if inside else 'logit: {kind: uld}'}, which compares sorted "
                f"probabilities, seqkd, which compares texts, or {'' if inside else 'beta: 0, or '}"
                f"models with the same tokenizer",
            )


def alignment_problems(
    spec: JobSpec, data: DataFacts | None, teacher: ModelFacts, student: ModelFacts
) -> Iterator[Problem]:
    """The problems of examples whose tokens are not aligned between two tokenizers."""
    init, task = spec.student.init, spec.task
    if not isinstance(init, PretrainedInit) or not isinstance(task, ResponseTask):
        return
    listens = any(m.uses_features or m.uses_outputs for m in spec.sweep.methods)
    if not listens or student.tokenizer_digest == teacher.tokenizer_digest:
        return
    differs = f"{init.model} has a different tokenizer from its teacher"
    if isinstance(task, InstructionTask) and task.packing:
        yield Problem(
            "task.packing",
            f"true, but {differs}, and tokens of packed examples are not aligned",
            f"leave packing out, or {SAME}",
        )
    if data is not None and data.conversations is not None and data.conversations.given:
        yield Problem(
            "student.init.model",
            f"{differs}, and tokens of conversations are not aligned",
            f"{SAME}, give data of one instruction and response a row, or use seqkd",
        )


def class_warnings(spec: JobSpec) -> Iterator[Problem]:
    """Warn of sorted probabilities between classes, which both models share."""
    if isinstance(spec.task, ResponseTask | MultilabelTask):
        return
    for place, method in enumerate(spec.sweep.methods):
        term = method.logit_term
        if method.uses_outputs and term is not None and term.any_vocabulary:
            yield Problem(
                f"sweep.methods[{place}].{method.logit_path[0]}",
                f"{term.name} on {spec.task.kind}: it compares sorted probabilities, and does not "
                "see which class has which",
                "use kd or tvd, which compare each class",
            )
