"""Register a student in MLflow, so that `mlflow models predict` and `serve` call it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..data import TEMPLATES
from ..model_info.quiet import quiet
from ..spec import InstructionTask, Problem, ResponseTask, TextTask
from ..tracking.registry import (
    REGISTER_OPTION,
    RegisteredVersion,
    ServedModel,
    register_model,
    registry_problems,
)
from .card import CardFacts, licence_text, model_card, model_name, pipeline_task
from .choosing import Student
from .folder import card_facts, load_student

EXAMPLES = ("A text.", "Another text.")
INSTRUCTIONS = ("Name three colours.",)


def register_problems(student: Student, uri: str, name: str) -> list[Problem]:
    """What prevents a student from being registered."""
    task = student.spec.task
    if isinstance(task, ResponseTask) and task.language_model == "seq2seq":
        return [_refusal("transformers 5 has no pipeline for encoder–decoders, which MLflow calls")]
    if isinstance(task, TextTask) and _reads_pairs(task):
        return [_refusal("a pipeline of MLflow reads one text, and the task has pairs of texts")]
    if isinstance(task, InstructionTask) and task.template == "chat":
        return [_refusal("a pipeline of MLflow reads a text, and the task has conversations")]
    return registry_problems(uri, name, student.trial.run_id)


def register_student(student: Student, uri: str, name: str) -> RegisteredVersion:
    """Register a student as a new version of a model; see `register_problems`.

    Raises:
        SpecError: the storage has no readable student.
        RegistryError: the registry refused it.
    """
    model, tokenizer, notes = load_student(student)
    # MLflow records it, and looks for names (without spaces) on the hub.
    model.name_or_path = tokenizer.name_or_path = student.label
    description = "\n\n".join((f"{model_name(student)}, of flexkd job {student.job_id}", *notes))
    served = _served(student, model, tokenizer, card_facts(model, notes))
    with quiet():
        return register_model(uri, name, student.trial.run_id, served, description=description)


def _served(student: Student, model: Any, tokenizer: Any, facts: CardFacts) -> ServedModel:
    task = student.spec.task
    served = partial(
        ServedModel,
        model,
        tokenizer,
        pipeline_task(student),
        card=model_card(student, facts),
        licences=licence_text(student),
    )
    if isinstance(task, TextTask):
        return served(EXAMPLES, {"truncation": True})
    assert isinstance(task, InstructionTask), "other tasks are refused"
    arguments = {"return_full_text": False}
    if task.template == "none":
        return served(INSTRUCTIONS, arguments)
    template = TEMPLATES[task.template][0].format(instruction="{prompt}")
    return served(INSTRUCTIONS, arguments, template=template)


def _reads_pairs(task: TextTask) -> bool:
    parts = getattr(task.data, "parts", {"": task.data})
    return any(getattr(part, "text_pair", None) is not None for part in parts.values())


def _refusal(message: str) -> Problem:
    return Problem(REGISTER_OPTION, message, "export it to a folder without --register")
