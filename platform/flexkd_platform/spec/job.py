"""The whole job spec."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, model_validator

from .distill import Distill
from .evaluate import Evaluate
from .methods import MethodName
from .pattern import Pattern
from .resources import Resources
from .score import Score
from .section import Section, sha256_of
from .student import Student
from .sweep import Sweep
from .task import TASK_KINDS, ClassificationTask, Metric, Task
from .teacher import Teacher

STOCHASTIC_ORDER_SEEDS = 5
"""Fewer seeds say nothing of a distribution: `flexkd_core.statistics.dominance.MINIMUM`."""


class Tracking(Section):
    """Where the runs are recorded."""

    experiment: str | None = Field(None, description="MLflow experiment; the job's name if absent")
    log_students: bool = Field(
        False, description="copy every student to MLflow, not only its path and digest"
    )


class Published(Section):
    """A published result, printed next to ours."""

    method: MethodName = Field(description="method of the sweep it belongs to")
    metric: Metric = Field(description="metric, as accuracy")
    mean: float = Field(description="mean over seeds, in the metric's own unit")
    std: float | None = Field(None, ge=0, description="standard deviation over seeds")
    source: str = Field("", description="where it was published")


class JobSpec(Section):
    """One job: what is distilled into what, by which methods, and how they are compared."""

    name: Annotated[
        str,
        Pattern(
            r"^[a-z0-9][a-z0-9._-]{0,63}$",
            "1 to 64 lower-case letters, digits, dots, hyphens or underscores, of which the first "
            "is a letter or digit",
        ),
    ] = Field(description="lower-case letters, digits, dots, hyphens; names the job's folder")
    task: Task = Field(default_factory=ClassificationTask, description="what is learned")
    teacher: Teacher = Field(default_factory=Teacher)
    student: Student = Field(default_factory=Student)
    score: Score = Field(default_factory=Score)
    distill: Distill = Field(default_factory=Distill)
    sweep: Sweep
    evaluate: Evaluate = Field(default_factory=Evaluate)
    resources: Resources = Field(default_factory=Resources)
    tracking: Tracking = Field(default_factory=Tracking)
    reference: tuple[Published, ...] = Field(
        (), description="published numbers to print next to ours"
    )
    plugins: tuple[str, ...] = Field(
        (),
        description="modules that register methods or losses: installed, or in the spec's folder",
    )

    def to_json(self) -> dict[str, Any]:
        """The section as JSON. An empty `plugins` is omitted: earlier versions have no such field,
        and the hash of this JSON names the job.
        """
        values = super().to_json()
        if not self.plugins:
            del values["plugins"]
        return values

    @model_validator(mode="after")
    def _metrics_fit_task(self) -> JobSpec:
        known = TASK_KINDS[self.task.kind].metrics
        for metric in self.evaluate.metrics:
            if metric not in known:
                raise ValueError(
                    f"evaluate.metrics: {metric} is not a metric of {self.task.kind}; "
                    f"allowed are {', '.join(known)}"
                )
        return self

    @model_validator(mode="after")
    def _order_has_enough_seeds(self) -> JobSpec:
        if not self.evaluate.stochastic_order:
            return self
        seeds = len(self.sweep.seeds)
        if seeds < STOCHASTIC_ORDER_SEEDS:
            raise ValueError(
                f"evaluate.stochastic_order: needs {STOCHASTIC_ORDER_SEEDS} seeds or more, and "
                f"sweep.seeds has {seeds}; add seeds, or leave it out"
            )
        if self.sweep.baseline is None:
            raise ValueError(
                "evaluate.stochastic_order: compares with the baseline, and sweep.baseline is "
                "null; name a baseline, or leave it out"
            )
        return self

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the spec without `resources`, which do not affect results."""
        return sha256_of({k: v for k, v in self.to_json().items() if k != "resources"})

    @property
    def id(self) -> str:
        """`<name>-<short hash>`: the job's folder under `<storage>/jobs/`."""
        return f"{self.name}-{self.hash[:8]}"

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment."""
        return self.tracking.experiment or self.name

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are reported, the ranking one first."""
        return self.evaluate.reported(self.task.kind)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics with their evaluation sets, as `test/accuracy`; the first one ranks."""
        sets = (self.evaluate.split, *self.task.evaluation)
        return tuple(f"{name}/{metric}" for name in sets for metric in self.metrics)
