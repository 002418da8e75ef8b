"""The distill step: one student, trained by one method with one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ...spec import JobSpec, Method, ResponseTask
from ..facts import Facts
from ..layers import LayerRef, Pair, layer_pairs
from ..reading import reading_of
from ..recipe import TrainingRecipe
from ..step import Step
from ..step_kind import StepKind, metrics_line
from ._student import TrainingConfig, row_counts, student_config
from .cache import OUTPUTS, CacheConfig, cache_numbers, cache_step
from .dataset import dataset_step
from .generate import GenerateConfig, generate_step
from .score import ImportanceConfig
from .select import SelectConfig, select_step
from .teacher import TeacherConfig, teacher_step
from .warm_up import WarmUpConfig, warm_up_step

LARGEST_CACHE = 2**31
"""Most fp32 numbers (8 GiB) that a trial reads from teacher caches; above, it runs the teacher."""

KIND = StepKind("distill", 2, "distillation", "trial", metrics_line)


@dataclass(frozen=True)
class OfflineTeacher:
    """The teacher signal is read from caches, which are computed once."""

    caches: tuple[Step[CacheConfig], ...]

    def needs(self) -> dict[str, Step]:
        """The caches, by what they hold."""
        return {f"cache {cache.config.holds}": cache for cache in self.caches}


@dataclass(frozen=True)
class OnlineTeacher:
    """The teacher runs on every batch."""

    teacher: Step[TeacherConfig]

    def needs(self) -> dict[str, Step]:
        """The teacher."""
        return {"teacher": self.teacher}


@dataclass(frozen=True)
class ReselectConfig:
    """Units selected from the training batch, in place of a selection before the training.

    every: optimiser steps between selections.
    """

    importance: ImportanceConfig
    every: int

    def to_identity(self) -> dict[str, Any]:
        """All settings."""
        return {**self.importance.to_identity(), "every": self.every}


@dataclass(frozen=True)
class DistillConfig(TrainingConfig):
    """The training of a trial's student.

    teacher: the source of the teacher signal; None for a method whose loss reads none.
    layers: pairs of a student's and a teacher's layer whose features are compared.
    selections: one for each teacher layer whose units are selected before the training.
    reselect: None unless units are selected during the training.
    generated: the responses that replace those of the data.
    start: the warmed-up student that training starts from, if any.
    aligned: the teacher, if its tokens are paired with the student's by the characters read.
    """

    kind: ClassVar = KIND
    teacher: OfflineTeacher | OnlineTeacher | None = None
    layers: tuple[Pair, ...] = ()
    selections: tuple[Step[SelectConfig], ...] = ()
    reselect: ReselectConfig | None = None
    generated: Step[GenerateConfig] | None = None
    start: Step[WarmUpConfig] | None = None
    aligned: Step[TeacherConfig] | None = None

    def to_identity(self) -> dict[str, Any]:
        """The settings; those of the teacher signal only where the loss reads one."""
        identity = super().to_identity()
        if self.teacher is not None:
            online = isinstance(self.teacher, OnlineTeacher)
            identity["distill"]["teacher_cache"] = "off" if online else "auto"
            identity["layers"] = [list(pair) for pair in self.layers]
        if self.reselect is not None:
            identity["reselect"] = self.reselect.to_identity()
        if self.aligned is not None:
            identity["alignment"] = "characters"
        return identity

    def needs(self) -> dict[str, Step]:
        """The data, the student's sources, responses, teacher signal, selections and warm-up."""
        needs = super().needs()
        if self.generated is not None:
            needs["generated"] = self.generated
        if self.teacher is not None:
            needs |= self.teacher.needs()
        if self.aligned is not None:
            needs["teacher"] = self.aligned
        needs |= {f"select {chosen.config.layer}": chosen for chosen in self.selections}
        return needs if self.start is None else {**needs, "start": self.start}


def distill_step(spec: JobSpec, facts: Facts, method: Method, seed: int) -> Step[DistillConfig]:
    """The training of a trial. It needs the teacher only if its loss reads the teacher signal."""
    warm_up = spec.student.warm_up
    pairs = _layers(facts, method)
    selection = method.selection if method.uses_features else None
    reselect = None
    if selection is not None and spec.score.aggregation == "batch":
        importance = ImportanceConfig.of(spec.score, spec.task.kind)
        reselect = ReselectConfig(importance, spec.score.every)
    selections: tuple[Step[SelectConfig], ...] = ()
    if selection is not None and reselect is None:
        selections = tuple(select_step(spec, facts, theirs, selection, seed) for _, theirs in pairs)
    responses = method.responses
    teacher = _teacher(spec, facts, method, pairs, online=reselect is not None)
    by_token = teacher is not None and isinstance(spec.task, ResponseTask)
    return Step(
        DistillConfig(
            method=method,
            student=student_config(spec, facts),
            recipe=TrainingRecipe.of(spec.distill, seed),
            dropout=spec.distill.dropout,
            keep=spec.distill.keep,
            reading=reading_of(spec, facts),
            dataset=dataset_step(spec, facts),
            rows=row_counts(spec.student, facts.train_rows),
            teacher=teacher,
            layers=pairs,
            selections=selections,
            reselect=reselect,
            generated=None if responses is None else generate_step(spec, facts, responses),
            start=None if warm_up is None else warm_up_step(spec, facts, warm_up, seed),
            aligned=teacher_step(spec, facts) if by_token and not facts.same_tokenizer else None,
        )
    )


def _layers(facts: Facts, method: Method) -> tuple[Pair, ...]:
    if not method.uses_features:
        return ()
    return layer_pairs(method, facts.student_stacks, facts.teacher_stacks, facts.scored)


def _teacher(
    spec: JobSpec, facts: Facts, method: Method, pairs: Sequence[Pair], *, online: bool
) -> OfflineTeacher | OnlineTeacher | None:
    """The source of the teacher signal. online: the teacher runs during training in any case."""
    if not (method.uses_features or method.uses_outputs):
        return None
    outputs: list[LayerRef] = [OUTPUTS] if method.uses_outputs else []
    held = list(dict.fromkeys([*outputs, *(theirs for _, theirs in pairs)]))
    reading = reading_of(spec, facts)
    size = sum(cache_numbers(reading, facts, holds) for holds in held)
    online = online or method.draws is not None or size > LARGEST_CACHE
    if online or spec.distill.teacher_cache == "off":
        return OnlineTeacher(teacher_step(spec, facts))
    return OfflineTeacher(tuple(cache_step(spec, facts, holds) for holds in held))
