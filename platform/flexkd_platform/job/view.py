"""The interface for showing a job's progress; implemented by the command line."""

from __future__ import annotations

from typing import Protocol

from ..plan import Step, Trial
from ..store import Holder


class View(Protocol):
    """Receives the start, progress and end of steps and trials."""

    def step_started(self, step: Step, label: str, total: int | None) -> None:
        """A shared step has started; `total` is its amount of work, in its own unit."""

    def step_progressed(self, step: Step, done: int, total: int, examples: int) -> None:
        """`done` of `total` is complete; a model has processed `examples` more examples."""

    def step_ended(self, step: Step, label: str, status: str, seconds: float, note: str) -> None:
        """The step has ended; status: `ran`, `reused` or `failed`."""

    def step_waiting(self, label: str, holder: Holder) -> None:
        """Another job is running the shared step; it is reused when that job has published it."""

    def trial_waiting(self, trial: Trial, holder: Holder) -> None:
        """Another job is running the trial."""

    def sweep_started(self, trials: int, reused: int, at_a_time: int) -> None:
        """`trials` have to run, and `reused` ones already exist. A search calls this for each of
        its rounds.
        """

    def trial_started(self, trial: Trial) -> None:
        """A worker has started the trial."""

    def trial_progressed(self, trial: Trial, done: int, total: int, examples: int) -> None:
        """`done` of the trial's `total` optimiser steps are done."""

    def trial_ended(self, trial: Trial, status: str, seconds: float, note: str) -> None:
        """The trial has ended; status: `done`, `failed` or `pruned`."""

    def warn(self, message: str) -> None:
        """Show a warning: a problem that does not stop the job."""
