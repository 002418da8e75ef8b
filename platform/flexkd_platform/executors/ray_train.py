"""A trial of several data-parallel workers: a Ray Train run inside the Tune trial."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..plan import Trial
from ..spec import Elastic, Resources
from ..store import open_store
from ..tracking import Progress
from .executor import LostWorkerError
from .progress_batches import bundled
from .work import StepError, failure_of

if TYPE_CHECKING:
    from ..training import GroupWorker

POLL_SECONDS = 1.0

WAIT_SECONDS = 3600
"""How long workers wait for each other within a step or for a checkpoint of all; a worker that is
lost is noticed by its closed connection, or by Ray, long before."""

RESIZE_SECONDS = 60.0
"""How often an elastic trial looks whether there are nodes for more workers."""

FRUITLESS_RUNS = 3
"""How often workers are lost without a new step in between, before a trial is given up."""

MOST_RESTARTS = 100
"""How often workers are started again in all: also those that are lost before they say a word."""

LOST_PEER = (
    "closed by peer",
    "closed by remote peer",
    "reset by peer",
    "connection refused",
    "connection was likely closed",
    "connection timed out",
    "socket has timed out",
    "socket closed",
    "socket unexpectedly closed",
    "broken pipe",
    "no route to host",
    "is unreachable",
    "timed out waiting",
    "connect timeout",
    "read timeout",
    "write timeout",
    "nccl timeout",
    "pair closure",
    "remote process exited",
    "exit of a remote peer",
    "closure by a peer",
    "collective operation timeout",
    "before timing out",
    "wait timeout after",
    "communicator was aborted",
)
"""What the other workers' errors say when one of them is lost: Gloo's, NCCL's and the sockets'
words of torch 2.13. Its libraries' names alone would do for a wrong argument, too."""

MOST_SAID = 400
"""Characters of a worker's error in a message of one line; all of it is in the detail."""


@dataclass(frozen=True)
class WorkerGroupStarted:
    """Said by the first worker of a group: the first group, or one after a loss or a resize."""

    workers: int


@dataclass(frozen=True)
class PeerLost:
    """Said by a worker that lost another one: its own error, which may know more of the cause."""

    failure: StepError


WorkerMessage = list[Progress] | WorkerGroupStarted | PeerLost | StepError
"""What workers tell. Not by `ray.train.report`: that would wait in Train's queue, drained every two
seconds, and every worker would have to report in step; and Tune's callback for it locks up when the
last report arrives after the trial's own. An error told there would have Train start again."""


def train_on_workers(
    trial: Trial, uri: str, resources: Resources, scratch: str, runs: Any
) -> Generator[list[Progress]]:
    """Run the trial on `resources.trial_workers` workers; yields its steps in bundles.

    When a worker is lost, or nodes come for more, Ray Train starts the group again, of as many
    workers as there is room for; it goes on from the training's checkpoint, and tells the steps
    since then again. Closing the generator has `runs` end the run with its workers.

    scratch: a URI where Ray Train may keep what it needs.
    runs: of `start_train_supervisor`, whom the run belongs to.

    Raises:
        StepError: the training failed, or loses its workers whenever it is tried.
        LostWorkerError: a process that watches over the workers was lost.
    """
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    # Both here: what asks for no CPU goes to any node, which the trial would be lost with.
    told: Queue[WorkerMessage] = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    run = runs.train.remote(_fit, (trial, uri, resources, scratch), told, node)
    try:
        patience = _Patience()
        while not (ray.wait([run], timeout=0)[0] and told.empty()):
            try:
                message = told.get(timeout=POLL_SECONDS)
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
        told.shutdown(force=True)  # which ends the run


class _Patience:
    """Gives a trial up that loses its workers again and again at the same place."""

    def __init__(self) -> None:
        self._done = self._fruitless = self._workers = 0
        self._last: StepError | None = None

    def hear(self, message: list[Progress] | WorkerGroupStarted | PeerLost) -> None:
        """Raises StepError when it is enough."""
        if isinstance(message, PeerLost):
            self._last = message.failure
        elif isinstance(message, WorkerGroupStarted):
            # A group that is larger than the last one was not lost, but made so.
            self._fruitless += message.workers <= self._workers or not self._workers
            self._workers = message.workers
            if self._fruitless > FRUITLESS_RUNS:
                raise self._enough()
        elif message[-1].done > self._done:
            # What was said before that tells nothing of a later loss.
            self._done, self._fruitless, self._last = message[-1].done, 0, None

    def _enough(self) -> StepError:
        lost = f"its workers were lost in each of {FRUITLESS_RUNS} runs (killed, or out of memory?)"
        if self._last is None:
            return StepError(lost)
        said = " ".join(str(self._last).split())[:MOST_SAID]
        return StepError(f"{lost}; the last of them said: {said}", self._last.detail)


def _raise_lost(run: Any) -> None:
    try:
        lost = ray.get(run)
    except ray.exceptions.RayError as error:
        raise LostWorkerError(str(error)) from None
    if lost is not None:
        raise LostWorkerError(lost)


def _fit(
    trial: Trial, uri: str, resources: Resources, scratch: str, told: Queue[WorkerMessage]
) -> str | None:
    """Let Ray Train run the trial; returns why it gave up, if it did."""
    trainer = ray.train.torch.TorchTrainer(
        _loop,
        train_loop_config={"trial": trial, "uri": uri, "resources": resources, "told": told},
        scaling_config=scaling(resources),
        torch_config=ray.train.torch.TorchConfig(timeout_s=WAIT_SECONDS),
        run_config=ray.train.RunConfig(
            name=f"train-{trial.hash[:16]}-{uuid.uuid4().hex[:8]}",
            storage_path=scratch,
            failure_config=ray.train.FailureConfig(max_failures=MOST_RESTARTS),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        return str(error)
    return None


def scaling(resources: Resources) -> ray.train.ScalingConfig:
    """How many workers Ray Train starts, and what each of them has."""
    wanted = resources.trial_workers
    each: dict[str, float] = {"CPU": resources.trial_cpus}
    if resources.trial_gpus:
        each["GPU"] = resources.trial_gpus
    return ray.train.ScalingConfig(
        num_workers=(wanted.min, wanted.max) if isinstance(wanted, Elastic) else wanted,
        use_gpu=resources.trial_gpus > 0,
        resources_per_worker=each,
        elastic_resize_monitor_interval_s=RESIZE_SECONDS,
    )


def group_worker(resources: Resources) -> GroupWorker:
    """This worker of the process group that Ray Train has set up."""
    from ..training import GroupWorker

    return GroupWorker(
        ray.train.torch.get_device(),
        parallel=resources.parallel,
        shard_teacher=resources.teacher_placement == "sharded",
    )


def _loop(config: dict[str, Any]) -> None:
    # Nobody listens to a run that is being ended. A worker that failed for that would have Train
    # start the group again, and the new one's CPUs stay reserved when the run is killed.
    with suppress(ray.exceptions.RayActorError):
        _tell_of_training(config)


def _tell_of_training(config: dict[str, Any]) -> None:
    # Here, on a worker: four processes that watch over it import this module, and train nothing.
    from ..steps import run_trial

    told: Queue[WorkerMessage] = config["told"]
    try:
        worker = group_worker(config["resources"])
        if worker.rank == 0:
            told.put(WorkerGroupStarted(worker.size))
        for bundle in bundled(
            run_trial(
                config["trial"].distill,
                config["trial"].evaluate,
                open_store(config["uri"]),
                worker,
                config["resources"],
            )
        ):
            if worker.rank == 0:
                told.put(bundle)
    except Exception as error:
        failure = failure_of(error)
        if isinstance(error, RuntimeError) and any(t in str(error).lower() for t in LOST_PEER):
            told.put(PeerLost(failure))
            raise  # a consequence; the cause is another worker's
        # Not raised: Ray Train would start the group again. The driver ends it now.
        told.put(failure)
