"""How a model reads the examples of a task, and how wide its outputs are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..spec import (
    TASK_KINDS,
    InstructionTask,
    JobSpec,
    MultilabelTask,
    ResponseTask,
    TaskKind,
    TextTask,
    multilabel,
    regresses,
)
from .facts import ClassWeights, Facts


@dataclass(frozen=True)
class TaskReading:
    """Part of the identity of every model.

    task: the name of the task kind.
    outputs: width of the head; the vocabulary of a language model.
    """

    task: str
    outputs: int

    @property
    def kind(self) -> type[TaskKind]:
        """The class of the task."""
        return TASK_KINDS[self.task]

    @property
    def regresses(self) -> bool:
        """Whether models output a number."""
        return regresses(self.task)

    @property
    def multilabel(self) -> bool:
        """Whether examples have any number of classes."""
        return multilabel(self.task)

    @property
    def from_encoder(self) -> bool:
        """Whether an encoder–decoder generates the responses."""
        return issubclass(self.kind, ResponseTask) and self.kind.language_model == "seq2seq"

    def to_identity(self) -> dict[str, Any]:
        """All settings, and the version of a task of another package."""
        version = self.kind.version
        return self.settings() | ({} if version is None else {"task_version": version})

    def settings(self) -> dict[str, Any]:
        """All settings for the identity."""
        return asdict(self)


@dataclass(frozen=True)
class LabelReading(TaskReading):
    """A text, or a pair of texts, with a label.

    max_length: tokens of an example, special tokens included.
    class_weights: weights of the classes in the supervised loss: those of the classes in order, or
        balanced by the training rows.
    threshold: of a multi-label task, the probability from which a class is predicted.
    names: of the outputs, which saved models show; empty without names. Not part of the identity:
        they do not change what a model computes.
    """

    max_length: int
    padding: Literal["right", "left"]
    names: tuple[str, ...] = ()
    class_weights: ClassWeights = "none"
    threshold: float | Literal["validation"] = 0.5

    def settings(self) -> dict[str, Any]:
        """All settings but the names, and those that were added later where they are not at their
        defaults; for regression also the unit of the labels, which earlier versions did not
        standardise.
        """
        settings = asdict(self)
        del settings["names"]
        if self.class_weights == "none":
            del settings["class_weights"]
        if self.threshold == 0.5:
            del settings["threshold"]
        return settings | ({"labels": "standardised"} if self.regresses else {})


@dataclass(frozen=True)
class ResponseReading(TaskReading):
    """A prompt or document with a response, for a language model.

    max_prompt, max_response: tokens of each; the end of a response is included.
    template: how an instruction becomes a prompt.
    chat_template: hex SHA-256 of the tokenizer's chat template; "" unless it is read.
    packing: whether the rows of training batches hold several examples.
    """

    max_prompt: int
    max_response: int
    template: Literal["alpaca", "none", "chat"]
    chat_template: str = ""
    packing: bool = False

    def settings(self) -> dict[str, Any]:
        """All settings; those that were added later are omitted at their defaults. How prompts with
        a template of ours are truncated is named: earlier versions did so at their ends.
        """
        settings = asdict(self)
        for name in ("chat_template", "packing"):
            if not settings[name]:
                del settings[name]
        return settings | ({"truncation": "contents"} if self.template == "alpaca" else {})


Reading = LabelReading | ResponseReading


def reading_of(spec: JobSpec, facts: Facts) -> Reading:
    """How the models of a job read its examples."""
    return reading_with(
        spec,
        facts.outputs,
        facts.class_names,
        facts.conversations,
        facts.chat_template,
        facts.class_weights,
    )


def reading_with(
    spec: JobSpec,
    outputs: int,
    names: tuple[str, ...] = (),
    conversations: bool = False,
    chat_template: str = "",
    class_weights: ClassWeights = "none",
) -> Reading:
    """The same from single facts, for checks that come before the others are known."""
    task = spec.task
    if isinstance(task, TextTask):
        threshold = task.threshold if isinstance(task, MultilabelTask) else 0.5
        return LabelReading(
            task.kind, outputs, task.max_length, task.padding, names, class_weights, threshold
        )
    template = task.template if isinstance(task, InstructionTask) else "none"
    if conversations:
        template = "chat"
    chat = chat_template if template == "chat" else ""
    packing = isinstance(task, InstructionTask) and task.packing
    return ResponseReading(
        task.kind, outputs, task.max_prompt, task.max_response, template, chat, packing
    )
