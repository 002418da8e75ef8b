"""The base step: an untrained teacher created from a config, its tokenizer trained on the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ...spec import BlankModel, JobSpec, ResponseTask
from ..facts import Facts
from ..step import Step, StepConfig
from ..step_kind import StepKind
from .dataset import DatasetConfig, dataset_step

KIND = StepKind("base", 1, "untrained teacher", "driver")


@dataclass(frozen=True)
class BaseConfig(StepConfig):
    """A model with random weights.

    model: its architecture, vocabulary and seed.
    language_model: whether it has a language model's head.
    """

    kind: ClassVar = KIND
    model: BlankModel
    language_model: bool
    dataset: Step[DatasetConfig]

    def to_identity(self) -> dict[str, Any]:
        """The settings of the model."""
        return {**self.model.to_json(), "language_model": self.language_model}

    def needs(self) -> dict[str, Step]:
        """The data set."""
        return {"dataset": self.dataset}


def base_step(spec: JobSpec, facts: Facts, model: BlankModel) -> Step[BaseConfig]:
    """The untrained teacher of a job whose spec gives a config in place of a model."""
    writes = isinstance(spec.task, ResponseTask)
    return Step(BaseConfig(model, writes, dataset_step(spec, facts)))
