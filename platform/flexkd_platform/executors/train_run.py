"""A Ray Train run of one trial: what its own process and its workers execute."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
from ray.util.queue import Queue

from ..plan import Trial
from ..spec import Elastic, Resources
from ..store import open_store
from .progress_batches import bundled
from .ray_train import PeerLost, WorkerGroupStarted, WorkerMessage
from .system_metrics import observed
from .work import failure_of

if TYPE_CHECKING:
    from ..training import GroupWorker

WAIT_SECONDS = 3600
"""Timeout of the workers for each other, within a step or for a distributed checkpoint. A lost
worker is detected long before, by its closed connection or by Ray."""

RESIZE_SECONDS = 60.0
"""How often an elastic trial checks for nodes with room for more workers."""

MOST_RESTARTS = 100
"""Worker group restarts in total, including groups that are lost before their first message."""

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
"""Substrings of the errors that workers raise when another worker is lost: messages of Gloo, NCCL
and the sockets in torch 2.13. The libraries' names alone would also match an invalid argument."""


def fit(
    trial: Trial, uri: str, resources: Resources, scratch: str, queue: Queue[WorkerMessage]
) -> str | None:
    """Run the trial on Ray Train; returns the error message if Train gave up."""
    trainer = ray.train.torch.TorchTrainer(
        loop,
        train_loop_config={"trial": trial, "uri": uri, "resources": resources, "queue": queue},
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
    """The number of workers that Ray Train starts, and the resources of each."""
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
    """This process as a worker of the process group that Ray Train has set up."""
    from ..training import GroupWorker

    return GroupWorker(
        ray.train.torch.get_device(),
        parallel=resources.parallel,
        shard_teacher=resources.teacher_placement == "sharded",
    )


def loop(config: dict[str, Any]) -> None:
    """Train on one worker of the group; the first one sends the messages."""
    # The queue of a run that is being ended is gone. If that failed a worker, Train would restart
    # the group, and the new group's CPUs would stay reserved when the run is killed.
    with suppress(ray.exceptions.RayActorError):
        _train(config)


def _train(config: dict[str, Any]) -> None:
    # Imported on a worker only: four supervising processes import this module and do not train.
    from ..steps import run_trial

    queue: Queue[WorkerMessage] = config["queue"]
    try:
        worker = group_worker(config["resources"])
        if worker.rank == 0:
            queue.put(WorkerGroupStarted(worker.size))
        steps = run_trial(
            config["trial"].distill,
            config["trial"].evaluate,
            open_store(config["uri"]),
            worker,
            config["resources"],
        )
        for bundle in bundled(observed(steps)):
            if worker.rank == 0:
                queue.put(bundle)
    except Exception as error:
        failure = failure_of(error)
        if isinstance(error, RuntimeError) and any(t in str(error).lower() for t in LOST_PEER):
            queue.put(PeerLost(failure))
            raise  # a consequence of another worker's error
        # Not raised: Ray Train would restart the group. The driver ends the run instead.
        queue.put(failure)
