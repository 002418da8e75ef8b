"""Stopping trials that do badly: what an executor is told of it, and where it cannot be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..spec import Asha, Problem, Scheduler
from ..tracking import Progress

WITHOUT_RAY = "none"
"""The address at which trials run one after the other."""

RungScores = Mapping[str, Sequence[tuple[int, float]]]
"""Of trials, by hash, the steps at which they can be compared, and how good they were by then."""


@dataclass(frozen=True)
class Halving:
    """Asynchronous successive halving by a metric of the validation split.

    metric: as `validation/accuracy`.
    lower_is_better: whether a good trial has little of it.
    grace_steps: optimiser steps before a trial may be stopped.
    reduction_factor: one trial in so many goes on.
    """

    metric: str
    lower_is_better: bool
    grace_steps: int
    reduction_factor: int

    def score(self, progress: Progress) -> float | None:
        """How good a trial is by now, more being better; None where nothing is decided.

        That is where nothing was measured, and at the end: who is there has finished.
        """
        if progress.metrics is None or progress.done >= progress.total:
            return None
        value = progress.metrics.values.get(self.metric)
        return -value if value is not None and self.lower_is_better else value


def scores_of(progress: Iterable[Progress], halving: Halving) -> list[tuple[int, float]]:
    """The steps of a training at which it can be compared, each with its score."""
    scored = ((each.done, halving.score(each)) for each in progress)
    return [(step, score) for step, score in scored if score is not None]


def stopping_problems(scheduler: Scheduler, address: str) -> list[Problem]:
    """Why trials cannot be stopped where the job is to run."""
    if not isinstance(scheduler, Asha) or address != WITHOUT_RAY:
        return []
    return [cannot_stop()]


def cannot_stop() -> Problem:
    """What is wrong with a scheduler without Ray."""
    return Problem(
        "sweep.scheduler.kind",
        "asha decides between trials that run side by side, and without Ray they run one after "
        "the other",
        "use --address local, or --set sweep.scheduler='{kind: none}'",
    )
