"""The teacher step: a pretrained model, fine-tuned on the task and evaluated on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ...spec import BlankModel, JobSpec, ModulePaths
from ..facts import Facts
from ..heads import HeadUse
from ..reading import Reading, reading_of
from ..recipe import TrainingRecipe
from ..step import Step, StepConfig
from ..step_kind import StepKind, truncations
from .base import BaseConfig, base_step
from .dataset import DatasetConfig, dataset_step


def _summary_line(summary: Mapping[str, Any], metric: str = "") -> str:
    """The size, and the ranking metric, or `nll`, the only metric computed without decoding."""
    found: Mapping[str, float] = summary["metrics"]
    split = metric.partition("/")[0] or "test"
    names = [name for name in (metric, f"{split}/nll", *found) if name in found]
    shown = [f"{summary['parameters']:,} parameters", *(f"{n} {found[n]:.4f}" for n in names[:1])]
    return ", ".join([*shown, *truncations({"train": summary.get("lengths", {}).get("train", {})})])


KIND = StepKind("teacher", 2, "teacher", "task", _summary_line)


@dataclass(frozen=True)
class ModelSource:
    """Where a worker loads a model from: a folder, package:NAME, or a hub name and revision.

    modules: where it keeps its parts, if the spec names them.
    """

    model: str
    revision: str | None = None
    modules: ModulePaths | None = None


Pretrained = Step[BaseConfig] | ModelSource
"""A model before training: created by a step, or loaded from elsewhere."""


@dataclass(frozen=True)
class TeacherConfig(StepConfig):
    """A teacher.

    fingerprint: of the pretrained model's files, or of its config.
    finetune: None for a teacher that is used as it is.
    head: the use of the head of the pretrained model.
    """

    kind: ClassVar = KIND
    fingerprint: str
    finetune: TrainingRecipe | None
    reading: Reading
    dataset: Step[DatasetConfig]
    pretrained: Pretrained
    head: HeadUse = field(default_factory=HeadUse)

    def to_identity(self) -> dict[str, Any]:
        """The model's fingerprint, its fine-tuning, and how it reads examples."""
        return {
            "model": self.fingerprint,
            "finetune": self.finetune.to_identity() if self.finetune else None,
            **self.reading.to_identity(),
            **self.head.to_identity(),
        }

    def needs(self) -> dict[str, Step]:
        """The data set, and the untrained model if a step creates it."""
        return {"dataset": self.dataset, **base_needs(self.pretrained)}


def base_needs(pretrained: Pretrained) -> dict[str, Step]:
    """The step that creates the untrained model, if there is one."""
    return {"base": pretrained} if isinstance(pretrained, Step) else {}


def teacher_step(spec: JobSpec, facts: Facts) -> Step[TeacherConfig]:
    """The teacher of a job."""
    finetune = spec.teacher.finetune
    return Step(
        TeacherConfig(
            fingerprint=facts.teacher_fingerprint,
            finetune=TrainingRecipe.of(finetune, finetune.seed) if finetune else None,
            reading=reading_of(spec, facts),
            dataset=dataset_step(spec, facts),
            pretrained=pretrained_teacher(spec, facts),
            head=facts.teacher_head,
        )
    )


def pretrained_teacher(spec: JobSpec, facts: Facts) -> Pretrained:
    """The teacher before its fine-tuning."""
    model = spec.teacher.model
    if isinstance(model, BlankModel):
        return base_step(spec, facts, model)
    if facts.teacher_source:
        return ModelSource(facts.teacher_source, modules=spec.teacher.modules)
    return ModelSource(model, spec.teacher.revision, spec.teacher.modules)
