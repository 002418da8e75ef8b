"""The initial student, and the base config of student trainings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ...spec import (
    AlignedInit,
    CutInit,
    JobSpec,
    Lora,
    Method,
    PretrainedInit,
    Student,
    StudentInit,
)
from ..facts import Facts
from ..heads import HeadUse
from ..layers import stack_of
from ..reading import Reading
from ..recipe import TrainingRecipe
from ..step import Step, StepConfig
from .dataset import DatasetConfig
from .select import SelectConfig, select_step
from .teacher import Pretrained, TeacherConfig, base_needs, pretrained_teacher, teacher_step


@dataclass(frozen=True)
class StudentConfig:
    """The source of a student's initial weights.

    init: as in the spec; a pretrained student's `model` is where a worker loads it from.
    fingerprint: of the source model: the teacher's, or the pretrained student's.
    pretrained: the teacher before fine-tuning, for a student that is derived from it.
    finetuned: the teacher, for a student that is cut from it after fine-tuning.
    aligned: the units at which an aligned student is cut.
    teacher_hidden: the width of the teacher that the student is cut from.
    head: the use of a pretrained student's own head.
    lora: the adapter that is trained; None to train all weights.
    """

    init: StudentInit
    fingerprint: str
    pretrained: Pretrained | None = None
    finetuned: Step[TeacherConfig] | None = None
    aligned: Step[SelectConfig] | None = None
    teacher_hidden: int = 0
    head: HeadUse = field(default_factory=HeadUse)
    lora: Lora | None = None

    def to_identity(self) -> dict[str, Any]:
        """The settings, and the origin by content."""
        init = self.init.to_json()
        identity = {k: v for k, v in init.items() if k not in {"model", "revision", "head"}}
        identity |= self.head.to_identity()
        adapter = {} if self.lora is None else {"lora": self.lora.to_json()}
        return {"init": {**identity, "from": self.fingerprint}, **adapter}

    def needs(self) -> dict[str, Step]:
        """The steps that the initial weights depend on."""
        needs = {} if self.pretrained is None else base_needs(self.pretrained)
        if self.finetuned is not None:
            needs["source"] = self.finetuned
        if self.aligned is not None:
            needs[f"aligned {stack_of(self.aligned.config.layer)}".strip()] = self.aligned
        return needs


@dataclass(frozen=True)
class RowCounts:
    """How many rows a student reads, if not all with their labels."""

    labels: int
    unlabelled: int


def labelled_rows(labels: Literal["all"] | int | float, rows: int) -> int:
    """How many of `rows` training rows have a label; a share is rounded, to at least one row."""
    if labels == "all":
        return rows
    return labels if isinstance(labels, int) else max(1, round(labels * rows))


def row_counts(student: Student, rows: int) -> RowCounts | None:
    """The rows of a job's students, of `rows` training rows; None for all."""
    labels = labelled_rows(student.labels, rows)
    if labels == rows:
        return None
    rest = rows - labels
    return RowCounts(labels, rest if student.unlabelled is True else int(student.unlabelled))


def epoch_rows(student: Student, rows: int) -> int:
    """How many of `rows` training rows count as an epoch of the trials, of any method."""
    counts = row_counts(student, rows)
    return rows if counts is None else counts.labels + counts.unlabelled


def student_config(spec: JobSpec, facts: Facts) -> StudentConfig:
    """The initial student of a job."""
    init = spec.student.init
    if isinstance(init, PretrainedInit):
        if facts.student_source:
            init = init.model_copy(update={"model": facts.student_source, "revision": None})
        lora, head = spec.student.lora, facts.student_head
        return StudentConfig(init, facts.student_fingerprint, head=head, lora=lora)
    finetuned = isinstance(init, CutInit) and init.weights == "finetuned"
    aligned = None
    if isinstance(init, AlignedInit):
        # Both stacks of an encoder–decoder share its word embedding, which is cut once.
        aligned = select_step(spec, facts, facts.scored[-1])
    return StudentConfig(
        init,
        facts.teacher_fingerprint,
        pretrained_teacher(spec, facts),
        teacher_step(spec, facts) if finetuned else None,
        aligned,
        facts.teacher_hidden,
        lora=spec.student.lora,
    )


@dataclass(frozen=True)
class TrainingConfig(StepConfig):
    """The training of one student.

    recipe: its seed is the trial's, which also initializes the student's head.
    dropout: of the student.
    keep: the student at the end, or at its best epoch on the validation split.
    rows: the rows that the student reads; None for all.
    """

    method: Method
    student: StudentConfig
    recipe: TrainingRecipe
    dropout: float
    keep: Literal["last", "best"]
    reading: Reading
    dataset: Step[DatasetConfig]
    rows: RowCounts | None

    @property
    def seed(self) -> int:
        """The seed of all random draws."""
        return self.recipe.seed

    def to_identity(self) -> dict[str, Any]:
        """The settings that every training has."""
        recipe = self.recipe.to_identity()
        seed = recipe.pop("seed")
        return {
            "method": self.method.identity(self.reading.task),
            "student": self.student.to_identity(),
            "distill": {**recipe, "dropout": self.dropout, "keep": self.keep},
            "seed": seed,
            **self.reading.to_identity(),
            **({} if self.rows is None else {"rows": asdict(self.rows)}),
        }

    def settings(self) -> dict[str, Any]:
        """The identity without the seed."""
        return {name: value for name, value in self.to_identity().items() if name != "seed"}

    def needs(self) -> dict[str, Step]:
        """The data set, and the sources of the initial weights."""
        return {"dataset": self.dataset, **self.student.needs()}
