"""What the function of a step is given besides its config and the artifacts that it reads."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..plan import Step
from ..spec import Resources
from ..store import Store
from ..store.publishing import Draft
from ..training.worker import SoloWorker, Worker, local_device


@dataclass(frozen=True)
class Output:
    """The artifact of a running step.

    store: holds it once it is published, and until then its partial artifacts: finished chunks,
        and checkpoints.
    """

    step: Step
    store: Store

    def publish(self, since: float | None = None) -> AbstractContextManager[Draft]:
        """The draft, which is published at the end of the context.

        since: `time.perf_counter()` when the step began; now when left out.
        """
        return self.store.publish(self.step, since)

    def drop_partial(self) -> None:
        """Delete the partial artifacts."""
        self.store.drop_parts(self.step)


@dataclass(frozen=True)
class RunContext:
    """How a step runs. Nothing here decides what it computes.

    threads: of torch.
    spread_teacher: whether the teacher is spread over all devices of this process.
    checkpoint_steps: optimiser steps between checkpoints; epochs when None.
    micro_batch: examples of one forward pass of a training; the worker's shard when None.
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
        """Of a step that one worker runs."""
        worker = SoloWorker(local_device())
        return cls(worker, threads, spread_teacher, checkpoint_steps)

    @classmethod
    def of_trial(cls, worker: Worker, resources: Resources) -> RunContext:
        """Of a student's training by one of the workers of a trial."""
        return cls(
            worker,
            resources.trial_cpus,
            resources.spreads_teacher,
            resources.checkpoint_steps,
            resources.micro_batch,
        )
