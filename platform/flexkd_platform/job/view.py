"""What a person watching a job is told; the command line draws it."""

from __future__ import annotations

from typing import Protocol

from ..plan import Step, Trial
from ..store import Holder


class View(Protocol):
    """Is told of stages as they begin, go on and end."""

    def step_started(self, step: Step, label: str, total: int | None) -> None:
        """A shared step runs; `total` is how much there is to do, in its own unit."""

    def step_progressed(self, step: Step, done: int, total: int, examples: int) -> None:
        """`done` of `total` is done; `examples` more have gone through a model."""

    def step_ended(self, step: Step, label: str, status: str, seconds: float, note: str) -> None:
        """The step is `ran`, `reused` or `failed`."""

    def step_waiting(self, label: str, holder: Holder) -> None:
        """Another job runs the shared step; it is reused when that job has published it."""

    def trial_waiting(self, trial: Trial, holder: Holder) -> None:
        """Another job runs the trial."""

    def sweep_started(self, trials: int, reused: int, at_a_time: int) -> None:
        """So many trials are to be run; `reused` ones of the sweep are there already. A search
        says so of each of its rounds.
        """

    def trial_started(self, trial: Trial) -> None:
        """A trial has a worker."""

    def trial_progressed(self, trial: Trial, done: int, total: int, examples: int) -> None:
        """`done` of the trial's `total` optimiser steps are done."""

    def trial_ended(self, trial: Trial, status: str, seconds: float, note: str) -> None:
        """The trial is `done`, `failed` or `pruned`."""

    def warn(self, message: str) -> None:
        """Something is wrong that does not stop the job."""
