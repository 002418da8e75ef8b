"""How the points of a sweep are chosen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section
from .task import Metric

SAMPLES = "points of each searched method; every one of them runs with all seeds"


class GridSearch(Section):
    """Every combination of the axes, once."""

    kind: Literal["grid"] = "grid"


class RandomSearch(Section):
    """Points drawn at random; a list in place of a setting is a choice among its values."""

    kind: Literal["random"]
    samples: int = Field(gt=0, description=SAMPLES)
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the draws")


class OptunaSearch(Section):
    """Points suggested by Optuna (TPE) in rounds, from the results of the rounds before."""

    kind: Literal["optuna"]
    samples: int = Field(gt=0, description=SAMPLES)
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the suggestions")
    metric: Metric | None = Field(
        None,
        description="metric on the validation split, as its mean over the seeds; null: the one "
        "that chooses checkpoints",
    )
    batch: int = Field(4, gt=0, description="points of a method that are suggested at a time")


Search = Annotated[GridSearch | RandomSearch | OptunaSearch, Field(discriminator="kind")]
