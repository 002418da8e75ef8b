"""How a model reads the examples of a task, and how wide its outputs are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..spec import TASK_KINDS, InstructionTask, JobSpec, ResponseTask, TaskKind, TextTask, regresses


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
    def from_encoder(self) -> bool:
        """Whether an encoder–decoder generates the responses."""
        return issubclass(self.kind, ResponseTask) and self.kind.language_model == "seq2seq"

    def to_identity(self) -> dict[str, Any]:
        """All settings but names, and the version of a task of another package.

        For regression also the unit of the labels, which earlier versions did not standardise.
        """
        version = self.kind.version
        settings = {name: value for name, value in asdict(self).items() if name != "names"}
        if self.regresses:
            settings["labels"] = "standardised"
        return settings | ({} if version is None else {"task_version": version})


@dataclass(frozen=True)
class LabelReading(TaskReading):
    """A text, or a pair of texts, with a label.

    max_length: tokens of an example, special tokens included.
    names: of the outputs, which saved models show; empty without names. Not part of the identity:
        they do not change what a model computes.
    """

    max_length: int
    padding: Literal["right", "left"]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class ResponseReading(TaskReading):
    """A prompt or document with a response, for a language model.

    max_prompt, max_response: tokens of each; the end of a response is included.
    template: how an instruction becomes a prompt.
    """

    max_prompt: int
    max_response: int
    template: Literal["alpaca", "none"]


Reading = LabelReading | ResponseReading


def reading_of(spec: JobSpec, outputs: int, names: tuple[str, ...] = ()) -> Reading:
    """How the models of a job read its examples."""
    task = spec.task
    if isinstance(task, TextTask):
        return LabelReading(task.kind, outputs, task.max_length, task.padding, names)
    template = task.template if isinstance(task, InstructionTask) else "none"
    return ResponseReading(task.kind, outputs, task.max_prompt, task.max_response, template)
