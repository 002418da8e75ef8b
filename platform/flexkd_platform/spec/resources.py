"""Resources of a job: workers, CPUs, GPUs and the placement of models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Section

Count = Annotated[int, Field(gt=0, lt=2**31)]


class Elastic(Section):
    """{min: 1, max: 4}, min ≤ max: the number of workers changes as nodes join and leave."""

    min: Count = Field(description="fewest workers; with fewer free, the trial waits")
    max: Count = Field(description="most workers")

    @model_validator(mode="after")
    def _in_order(self) -> Elastic:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}; swap them")
        return self


class Resources(Section):
    """Resources and parallelism; results do not depend on them."""

    score_workers: Count = Field(2, description="actors that score and cache, one CPU each")
    trial_workers: Count | Elastic = Field(
        1, description="data-parallel workers of one trial; or {min, max}, as the cluster has them"
    )
    trial_cpus: Count = Field(1, description="CPUs, and torch threads, of one trial worker")
    trial_gpus: float = Field(0, ge=0, description="GPUs of one trial worker; fractions allowed")
    teacher_cpus: Count = Field(2, description="CPUs, and torch threads, of the teacher's training")
    teacher_gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs of the teacher's training and of a scoring actor; null: as "
        "a trial worker",
    )
    max_concurrent_trials: Literal["auto"] | Count = Field(
        "auto", description="trials at a time; auto: as many as fit"
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp",
        description="what a worker of a trial holds: ddp the whole student, fsdp a shard of it",
    )
    micro_batch: Count | None = Field(
        None,
        description="examples that a trial worker has in memory at a time; gradients of a larger "
        "batch are accumulated, with the same result",
    )
    checkpoint_steps: Count | None = Field(
        None,
        description="optimiser steps between checkpoints, from which interrupted training resumes; "
        "null: one at the end of every epoch",
    )
    teacher_placement: Literal["whole", "device_map", "sharded"] = Field(
        "whole",
        description="where the teacher is: whole on one device, spread by accelerate's device_map "
        "over the devices of its worker, or sharded: the same, and sharded over a trial's workers "
        "when it runs online",
    )

    @property
    def least_workers(self) -> int:
        """Fewest workers with which a trial starts."""
        return self.trial_workers if isinstance(self.trial_workers, int) else self.trial_workers.min

    @property
    def most_workers(self) -> int:
        """Most workers that a trial uses."""
        return self.trial_workers if isinstance(self.trial_workers, int) else self.trial_workers.max

    @property
    def spreads_teacher(self) -> bool:
        """Whether a worker that runs the teacher alone spreads it over all its devices."""
        return self.teacher_placement != "whole"

    @property
    def gpus_of_teacher(self) -> float:
        """GPUs of a task or actor that runs the teacher."""
        return self.trial_gpus if self.teacher_gpus is None else self.teacher_gpus
