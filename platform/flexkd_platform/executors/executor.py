"""What an executor does, wherever it does it."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from ..plan import Step, Trial
from ..spec import Problem, Resources
from ..steps import ChunkDone, ChunkedPass, Progress
from ..store import Store


class StepError(RuntimeError):
    """A step could not be done. The message is for people; `detail` is the traceback."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class LostWorkerError(RuntimeError):
    """A process that worked on a trial is gone; the trial may be run again."""


class TrialListener(Protocol):
    """Is told what happens to trials, in the process that started them."""

    def started(self, trial: Trial) -> None:
        """The trial has a worker."""

    def progressed(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Steps of the trial's training, in order, each told once."""

    def ended(self, trial: Trial, failure: StepError | None) -> None:
        """The trial's artifacts are there, or `failure` says why not."""


@dataclass(frozen=True)
class Capacity:
    """What an executor can give: CPUs and GPUs of the largest node, and of all nodes."""

    node_cpus: float
    node_gpus: float
    cpus: float
    gpus: float

    @classmethod
    def of_machine(cls) -> Capacity:
        """This machine's CPUs and the GPUs that torch sees."""
        cpus, gpus = float(os.cpu_count() or 1), float(torch.cuda.device_count())
        return cls(cpus, gpus, cpus, gpus)


class Executor(ABC):
    """Runs steps, scoring passes and trials against one store."""

    name: str

    def __init__(self, store: Store, resources: Resources) -> None:
        self.store = store
        self.resources = resources

    @abstractmethod
    def capacity(self) -> Capacity:
        """What there is to run on."""

    @abstractmethod
    def run(self, step: Step, on_progress: Callable[[Progress], None]) -> None:
        """Run one shared step.

        Raises:
            StepError: it could not be done.
        """

    @abstractmethod
    def run_pass(self, request: ChunkedPass, on_chunk: Callable[[ChunkDone], None]) -> None:
        """Run the missing chunks of a pass over the training examples and publish what it yields.

        Raises:
            StepError: a chunk could not be done; the finished ones are kept.
        """

    @abstractmethod
    def trials(self, trials: Sequence[Trial], listener: TrialListener) -> None:
        """Run trials, as many at a time as fit. One that fails does not stop the others."""

    def concurrent_trials(self) -> int:
        """How many trials run at a time; at least one, if `problems` finds nothing."""
        return fitting_trials(self.resources, self.capacity())

    def problems(self) -> list[Problem]:
        """Requests that can never be placed."""
        return resource_problems(self.resources, self.capacity())

    @abstractmethod
    def close(self) -> None:
        """Give back what the executor started."""


def fitting_trials(resources: Resources, capacity: Capacity) -> int:
    """How many trials run at a time: as many as fit, or as the spec allows; at least one."""
    fitting = int(capacity.cpus // (resources.least_workers * resources.trial_cpus))
    if resources.trial_gpus:
        needed = resources.least_workers * resources.trial_gpus
        fitting = min(fitting, int(capacity.gpus // needed))
    wanted = resources.max_concurrent_trials
    return max(1, fitting if wanted == "auto" else min(fitting, wanted))


def resource_problems(resources: Resources, capacity: Capacity) -> list[Problem]:
    """What a job asks for that there is not, each with what there is."""
    workers = resources.least_workers
    asked: Mapping[str, tuple[float, float, str]] = {
        "resources.score_workers": (resources.score_workers, capacity.cpus, "CPUs in all"),
        "resources.teacher_cpus": (
            resources.teacher_cpus,
            capacity.node_cpus,
            "CPUs on the largest node",
        ),
        "resources.trial_cpus": (
            resources.trial_cpus,
            capacity.node_cpus,
            "CPUs on the largest node",
        ),
        "resources.trial_gpus": (
            resources.trial_gpus,
            capacity.node_gpus,
            "GPUs on the largest node",
        ),
    }
    problems = [
        Problem(path, f"{wanted:g} asked for, but there are {there:g} {what}", f"at most {there:g}")
        for path, (wanted, there, what) in asked.items()
        if wanted > there
    ]
    for unit, each, there in (
        ("CPUs", resources.trial_cpus, capacity.cpus),
        ("GPUs", resources.trial_gpus, capacity.gpus),
    ):
        if workers > 1 and workers * each > there:
            problems.append(
                Problem(
                    "resources.trial_workers",
                    f"{workers} workers with {each:g} {unit} each need {workers * each:g}, "
                    f"but there are {there:g} {unit} in all",
                    f"lower trial_workers or trial_{unit.lower()}",
                )
            )
    return problems
