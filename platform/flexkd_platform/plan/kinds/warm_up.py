"""The warm_up step: a student fine-tuned before distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ...spec import FineTune, FineTuning, JobSpec
from ..facts import Facts
from ..reading import reading_of
from ..recipe import TrainingRecipe
from ..step import Step
from ..step_kind import StepKind, metrics_line
from ._student import TrainingConfig, row_counts, student_config
from .dataset import dataset_step

KIND = StepKind("warm_up", 1, "student warm-up", "task", metrics_line)


@dataclass(frozen=True)
class WarmUpConfig(TrainingConfig):
    """Fine-tuning; distillation starts from its best checkpoint on the validation split."""

    kind: ClassVar = KIND


def warm_up_step(spec: JobSpec, facts: Facts, settings: FineTune, seed: int) -> Step[WarmUpConfig]:
    """The warm-up of the trials with one seed, on the labelled rows."""
    rows = row_counts(spec.student, facts.train_rows)
    return Step(
        WarmUpConfig(
            method=FineTuning(kind="ft"),
            student=student_config(spec, facts),
            recipe=TrainingRecipe.of(settings, seed),
            dropout=spec.distill.dropout,
            keep="best",
            reading=reading_of(spec, facts.outputs, facts.class_names),
            dataset=dataset_step(spec, facts),
            rows=None if rows is None else replace(rows, unlabelled=0),
        )
    )
