"""Early stopping of trials that perform badly."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .section import Section
from .task import Metric


class NoScheduler(Section):
    """Every trial trains to its end."""

    kind: Literal["none"] = "none"


class Asha(Section):
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): at grace_steps, and each
    time the steps have grown by the factor, the best 1/factor of the trials so far continue.
    """

    kind: Literal["asha"]
    grace_steps: int = Field(gt=0, description="optimiser steps before a trial may be stopped")
    reduction_factor: int = Field(3, gt=1, description="one trial in this many continues")
    metric: Metric | None = Field(
        None,
        description="metric on the validation split, taken at the end of every epoch; null: the "
        "one that chooses checkpoints",
    )


Scheduler = Annotated[NoScheduler | Asha, Field(discriminator="kind")]
