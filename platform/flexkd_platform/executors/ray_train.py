"""A trial of several data-parallel workers: a Ray Train run inside the Tune trial."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..plan import Trial
from ..spec import Resources
from ..tracking import Progress
from .executor import LostWorkerError
from .work import StepError

POLL_SECONDS = 1.0

FRUITLESS_RUNS = 3
"""How often workers may be lost without a new step in between before the trial fails."""

MOST_SAID = 400
"""Characters of a worker's error in a one-line message; `detail` has the full error."""


@dataclass(frozen=True)
class WorkerGroupStarted:
    """Sent by the first worker of each group: the first one, or one after a loss or a resize."""

    workers: int


@dataclass(frozen=True)
class PeerLost:
    """Sent by a worker that lost another one. failure: its own error, which may show the cause."""

    failure: StepError


WorkerMessage = list[Progress] | WorkerGroupStarted | PeerLost | StepError
"""What workers send. Not by `ray.train.report`: reports wait in Train's queue, which is drained
every two seconds, and all workers have to report in lockstep; Tune's callback for it deadlocks if
the last report arrives after the trial's own. An error reported there makes Train restart."""


def train_on_workers(
    trial: Trial, uri: str, resources: Resources, scratch: str, runs: Any
) -> Generator[list[Progress]]:
    """Run the trial on `resources.trial_workers` workers; yields its steps in batches.

    When a worker is lost, or nodes for more workers join, Ray Train restarts the group with as many
    workers as there is room for. It resumes from the training's checkpoint, and reports the steps
    since then again. Closing the generator makes `runs` end the run and its workers.

    scratch: a URI that Ray Train uses as its storage path.
    runs: the handle from `start_train_supervisor`, which owns the run.

    Raises:
        StepError: the training failed, or lost its workers on every retry.
        LostWorkerError: a process that supervises the workers was lost.
    """
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    # Both on this node: Ray places what needs no CPU on any node, and the trial would depend on it.
    queue: Queue[WorkerMessage] = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    run = runs.train.remote(_fit, (trial, uri, resources, scratch), queue, node)
    try:
        patience = _Patience()
        while not (ray.wait([run], timeout=0)[0] and queue.empty()):
            try:
                message = queue.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            if isinstance(message, StepError):
                raise message
            patience.hear(message)
            if isinstance(message, list):
                yield message
        _raise_lost(run)
    except ray.exceptions.RayActorError as error:  # the queue's process
        raise LostWorkerError(str(error)) from None
    finally:
        queue.shutdown(force=True)  # this also ends the run


class _Patience:
    """Fails a trial that repeatedly loses its workers without progress."""

    def __init__(self) -> None:
        self._done = self._fruitless = self._workers = 0
        self._last: StepError | None = None

    def hear(self, message: list[Progress] | WorkerGroupStarted | PeerLost) -> None:
        """Process a message. Raises StepError if workers were lost too often."""
        if isinstance(message, PeerLost):
            self._last = message.failure
        elif isinstance(message, WorkerGroupStarted):
            # A group that is larger than the last one was resized, not lost.
            self._fruitless += message.workers <= self._workers or not self._workers
            self._workers = message.workers
            if self._fruitless > FRUITLESS_RUNS:
                raise self._enough()
        elif message[-1].done > self._done:
            # An error from before this step does not explain a later loss.
            self._done, self._fruitless, self._last = message[-1].done, 0, None

    def _enough(self) -> StepError:
        lost = f"its workers were lost in all {FRUITLESS_RUNS} attempts (killed, or out of memory?)"
        if self._last is None:
            return StepError(lost)
        message = " ".join(str(self._last).split())[:MOST_SAID]
        return StepError(f"{lost}; last error: {message}", self._last.detail)


def _raise_lost(run: Any) -> None:
    try:
        lost = ray.get(run)
    except ray.exceptions.RayError as error:
        raise LostWorkerError(str(error)) from None
    if lost is not None:
        raise LostWorkerError(lost)


def _fit(*arguments: Any) -> str | None:
    """`train_run.fit`, which is imported in the process that runs it.

    Ray Train imports torch. The processes of the queue and of the supervisor, and that of the
    trial, import this module alone.
    """
    from .train_run import fit

    return fit(*arguments)
