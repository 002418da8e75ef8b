"""The arguments of a step function in addition to its config and its input artifacts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plan import Step
from ..spec import Resources
from ..store import Store
from ..store.publishing import Draft

if TYPE_CHECKING:
    from ..training.worker import Worker


@dataclass(frozen=True)
class Output:
    """The output artifact of a running step.

    store: contains the artifact once it is published, and until then its partial artifacts:
        finished chunks and checkpoints.
    """

    step: Step
    store: Store

    def publish(self, since: float | None = None) -> AbstractContextManager[Draft]:
        """A context with a draft, which is published when the context exits.

        since: `time.perf_counter()` when the step began (default: now).
        """
        return self.store.publish(self.step, since)

    def drop_partial(self) -> None:
        """Delete the partial artifacts."""
        self.store.drop_parts(self.step)


@dataclass(frozen=True)
class RunContext:
    """How a step runs. Nothing here affects what it computes.

    threads: the number of torch threads.
    spread_teacher: whether the teacher is spread over all devices of this process.
    checkpoint_steps: optimiser steps between checkpoints; None: once per epoch.
    micro_batch: examples per forward pass of a training; None: the worker's whole shard.
    """

    worker: Worker
    threads: int = 1
    spread_teacher: bool = False
    checkpoint_steps: int | None = None
    micro_batch: int | None = None

    @classmethod
    def alone(
        cls, threads: int, checkpoint_steps: int | None = None, *, spread_teacher: bool = False
    ) -> RunContext:
        """The context of a step on a single worker."""
        # Commands that find every step published should not wait for torch.
        from ..training.worker import SoloWorker, local_device

        worker = SoloWorker(local_device())
        return cls(worker, threads, spread_teacher, checkpoint_steps)

    @classmethod
    def of_trial(cls, worker: Worker, resources: Resources) -> RunContext:
        """The context of a student's training on one of the workers of a trial."""
        return cls(
            worker,
            resources.trial_cpus,
            resources.spreads_teacher,
            resources.checkpoint_steps,
            resources.micro_batch,
        )
