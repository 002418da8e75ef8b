"""The work that a scheduler submits to an executor, and the events that it receives."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plan import Step, Trial
from ..tracking import Progress

if TYPE_CHECKING:
    from ..steps import ChunkedPass


class StepError(RuntimeError):
    """A step failed. The message is one line for the user; `detail` is the traceback."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


@dataclass(frozen=True, eq=False)
class StepWork:
    """One shared step, which runs in a single process."""

    step: Step

    @property
    def steps(self) -> tuple[Step, ...]:
        """The step."""
        return (self.step,)


@dataclass(frozen=True, eq=False)
class PassWork:
    """One pass over the training examples in chunks, and the steps that it publishes."""

    request: ChunkedPass

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps that the pass publishes."""
        return self.request.steps


@dataclass(frozen=True, eq=False)
class TrialWork:
    """The training and evaluation of one student."""

    trial: Trial

    @property
    def steps(self) -> tuple[Step, ...]:
        """The training and its evaluation."""
        return (self.trial.distill, self.trial.evaluate)


Work = StepWork | PassWork | TrialWork


@dataclass(frozen=True)
class Started:
    """A worker has started the work. chunks: the number of missing chunks of a pass."""

    work: Work
    chunks: int | None = None


@dataclass(frozen=True)
class Advanced:
    """New progress, in order; each optimiser step or chunk is reported once."""

    work: Work
    progress: Sequence[Progress]


@dataclass(frozen=True)
class Ended:
    """The artifacts are published, or `failure` is the reason why not."""

    work: Work
    failure: StepError | None = None


@dataclass(frozen=True)
class Pruned:
    """A trial was stopped early. reason: one line."""

    work: TrialWork
    reason: str


@dataclass(frozen=True)
class Broken:
    """The executor itself failed; its running work reports no `Ended`."""

    error: BaseException


Event = Started | Advanced | Ended | Pruned | Broken

OnEvent = Callable[[Event], None]
"""Receives events, from any thread."""


def failure_of(error: Exception) -> StepError:
    """Convert an error to a `StepError`, with its traceback for the log."""
    if isinstance(error, StepError):
        return error
    if isinstance(error, ValueError | FloatingPointError):
        message = str(error)
    else:
        message = f"{type(error).__name__}: {error}"
    return StepError(message, "".join(traceback.format_exception(error)))
