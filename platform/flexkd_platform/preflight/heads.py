"""The classes of a checkpoint's head, matched with those of the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..data import DataFacts
from ..model_info import ModelError, ModelFacts
from ..model_info.classes import head_names, matched_outputs
from ..plan import HeadUse
from ..spec import BlankModel, JobSpec, PretrainedInit, Problem, ResponseTask, counted, regresses


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that a classifier is loaded from.

    head: the spec's setting.
    path: of the section in the spec, as `teacher`.
    """

    facts: ModelFacts
    head: str
    path: str

    @property
    def keeps(self) -> bool:
        """Whether the checkpoint's own head is used."""
        return self.head == "keep" and self.facts.outputs is not None


def class_names(spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> tuple[str, ...]:
    """The names of all outputs by class: the data's, or those of the teacher's own head."""
    names, outputs, held = data.names, data.classes or 0, _kept_names(spec, data, teacher)
    if names and len(names) < outputs:
        order = matched_outputs(names, held, outputs) if held else tuple(range(outputs))
        more = [held[at] if held else f"LABEL_{at}" for at in order[len(names) :]]
        return (*names, *more)
    return names or held


def _kept_names(spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> tuple[str, ...]:
    """The names of the teacher's own head, if it is kept and has as many outputs as classes."""
    source = _teacher(spec, teacher)
    held = head_names(teacher) if source is not None and source.keeps else ()
    return held if len(held) == data.classes else ()


def teacher_head(spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> HeadUse:
    """The use of the teacher's head; call `head_problems` first."""
    source = _teacher(spec, teacher)
    return HeadUse() if source is None else _use(source, spec, data, teacher)


def student_head(
    spec: JobSpec, data: DataFacts, teacher: ModelFacts, student: ModelFacts
) -> HeadUse:
    """The use of a pretrained student's head; call `head_problems` first."""
    source = _student(spec, student)
    return HeadUse() if source is None else _use(source, spec, data, teacher)


def head_problems(
    spec: JobSpec, data: DataFacts | None, teacher: ModelFacts, student: ModelFacts | None
) -> Iterator[Problem]:
    """The problems of heads that do not fit the data's classes, and of `head` without effect."""
    yield from _without_effect(spec)
    if data is None:
        return
    pupil = None if student is None else _student(spec, student)
    for source in (_teacher(spec, teacher), pupil):
        if source is None or not source.keeps:
            continue
        names = data.names or _kept_names(spec, data, teacher)
        problem = _width_problem(spec, data, source) or _name_problem(names, source)
        if problem is not None:
            yield problem


def head_warnings(spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> Iterator[Problem]:
    """The pairs of classes that are assumed where only one side has names."""
    source = _teacher(spec, teacher)
    if source is None or not source.keeps or not data.classes:
        return
    held = head_names(teacher)
    if len(held) == data.classes and not data.names:
        pairs = ", ".join(f"{at} is {name}" for at, name in enumerate(held))
        message = f"its head names its classes, and the data number theirs: {pairs}"
        yield Problem("teacher.model", message, "set task.label_names if they are others")
    elif not held and data.names:
        pairs = ", ".join(f"output {at} is {name}" for at, name in enumerate(data.names))
        message = f"its head does not name its classes: {pairs}"
        remedy = "set id2label in its config.json if they are others"
        yield Problem("teacher.model", message, remedy)


def _teacher(spec: JobSpec, facts: ModelFacts) -> Checkpoint | None:
    """The teacher's checkpoint, if a classifier or regressor is loaded from it."""
    if isinstance(spec.task, ResponseTask) or isinstance(spec.teacher.model, BlankModel):
        return None
    return Checkpoint(facts, spec.teacher.head, "teacher")


def _student(spec: JobSpec, facts: ModelFacts) -> Checkpoint | None:
    init = spec.student.init
    if isinstance(spec.task, ResponseTask) or not isinstance(init, PretrainedInit):
        return None
    return Checkpoint(facts, init.head, "student.init")


def _use(source: Checkpoint, spec: JobSpec, data: DataFacts, teacher: ModelFacts) -> HeadUse:
    if not source.keeps:
        outputs = 1 if regresses(spec.task.kind) else data.classes
        return HeadUse(new=source.facts.outputs == outputs)
    held = head_names(source.facts)
    names = class_names(spec, data, teacher)
    if not _kept_names(spec, data, teacher):
        names = data.names  # the others are placeholders
    if not names or not held:
        return HeadUse()
    return HeadUse(order=matched_outputs(names, held, len(held)))


def _width_problem(spec: JobSpec, data: DataFacts, source: Checkpoint) -> Problem | None:
    """The problem of a head with another number of outputs."""
    needed = 1 if regresses(spec.task.kind) else data.classes or 0
    outputs = source.facts.outputs or 0
    if outputs == needed:
        return None
    held = head_names(source.facts)
    shown = f" ({', '.join(held)})" if held else ""
    remedy = _NEW_HEAD.format(source.path)
    if needed > 1 and outputs > needed:
        remedy += f"; or task.classes: {outputs}, if the data lack some of its classes"
    return Problem(
        f"{source.path}.model",
        f"its head has {counted(outputs, 'output')}{shown}, but the data need {needed}",
        remedy,
    )


def _name_problem(names: Sequence[str], source: Checkpoint) -> Problem | None:
    """The problem of a head that has other classes than the data."""
    held = head_names(source.facts)
    if not names or not held:
        return None
    try:
        matched_outputs(names, held, len(held))
    except ModelError as error:
        remedy = f"{error.remedy}, or {_NEW_HEAD.format(source.path)}"
        return Problem(f"{source.path}.model", error.message, remedy)
    return None


_NEW_HEAD = "set {}.head: new, which trains a new head"


def _without_effect(spec: JobSpec) -> Iterator[Problem]:
    settings = [("teacher.head", spec.teacher.head)]
    if isinstance(spec.student.init, PretrainedInit):
        settings.append(("student.init.head", spec.student.init.head))
    for path, head in settings:
        if head == "keep":
            continue
        if isinstance(spec.task, ResponseTask):
            message = f"new, but {spec.task.kind} keeps the head of a language model"
            yield Problem(path, message, "leave it out")
        elif path == "teacher.head" and spec.teacher.finetune is None:
            message = "new, but teacher.finetune: null leaves it untrained"
            yield Problem(path, message, "leave teacher.finetune out, or set head: keep")
