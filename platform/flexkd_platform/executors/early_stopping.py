"""Early stopping of trials: the settings for an executor, and where it is not available."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..spec import Asha, Problem, Scheduler
from ..tracking import Progress

WITHOUT_RAY = "none"
"""The address of the in-process executor, which runs trials sequentially."""

RungScores = Mapping[str, Sequence[tuple[int, float]]]
"""By trial hash: the steps at which trials are compared, each with its score (higher is better)."""


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving (ASHA) on a metric of the validation split.

    metric: for example `validation/accuracy`.
    lower_is_better: whether the metric is minimized.
    grace_steps: optimiser steps before a trial may be stopped.
    reduction_factor: one in this many trials continues at each rung.
    """

    metric: str
    lower_is_better: bool
    grace_steps: int
    reduction_factor: int

    def score(self, progress: Progress) -> float | None:
        """The trial's current score (higher is better); None if there is no decision at this step.

        That is at steps without an evaluation, and at the last step: the trial has finished.
        """
        if progress.metrics is None or progress.done >= progress.total:
            return None
        value = progress.metrics.values.get(self.metric)
        return -value if value is not None and self.lower_is_better else value


def scores_of(progress: Iterable[Progress], halving: Halving) -> list[tuple[int, float]]:
    """The steps of a training at which trials are compared, each with its score."""
    scored = ((each.done, halving.score(each)) for each in progress)
    return [(step, score) for step, score in scored if score is not None]


def stopping_problems(scheduler: Scheduler, address: str) -> list[Problem]:
    """The problem of early stopping at an address that does not support it, if any."""
    if not isinstance(scheduler, Asha) or address != WITHOUT_RAY:
        return []
    return [cannot_stop()]


def cannot_stop() -> Problem:
    """The problem of a trial scheduler without Ray."""
    return Problem(
        "sweep.scheduler.kind",
        "asha compares concurrent trials, but without Ray trials run one at a time",
        "use --address local, or --set sweep.scheduler='{kind: none}'",
    )
