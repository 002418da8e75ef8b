"""A trial of several data-parallel workers: a Ray Train run inside the Tune trial."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray.train
import ray.train.torch
from ray.util.queue import Empty, Queue

from ..plan import Trial
from ..spec import Resources
from ..steps import GroupWorker, Progress, run_trial
from ..store import open_store
from .bundles import bundled
from .executor import LostWorkerError, StepError
from .inprocess import failure_of

POLL_SECONDS = 1.0

WAIT_SECONDS = 24 * 3600
"""How long workers wait for each other."""

LOST_PEER = ("connection closed by peer", "connection reset by peer", "gloo", "nccl")
"""What the other workers' errors say when one of them is lost."""


def train_on_workers(
    trial: Trial, uri: str, resources: Resources, scratch: str
) -> Iterator[list[Progress]]:
    """Run the trial on `resources.most_workers` workers; yields its steps in bundles.

    scratch: a URI where Ray Train may keep what it needs.

    They come by a queue of our own. With `ray.train.report` they would wait in Train's queue,
    drained every two seconds, and every worker would have to report in step; and Tune's callback
    for it locks up when the last report arrives after the trial's own.

    Raises:
        StepError: the training failed.
        LostWorkerError: a worker was lost.
    """
    told: Queue[list[Progress]] = Queue(actor_options={"num_cpus": 0})
    trainer = ray.train.torch.TorchTrainer(
        _loop,
        train_loop_config={
            "trial": trial,
            "uri": uri,
            "resources": resources,
            "told": told,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.most_workers,
            use_gpu=resources.trial_gpus > 0,
            resources_per_worker={
                "CPU": resources.trial_cpus,
                **({"GPU": resources.trial_gpus} if resources.trial_gpus else {}),
            },
        ),
        # The first worker measures the student while the others wait for it, which takes long where
        # text is generated; a peer that is lost is noticed by its closed connection.
        torch_config=ray.train.torch.TorchConfig(timeout_s=WAIT_SECONDS),
        # No retries here: Tune runs a trial again that lost a process.
        run_config=ray.train.RunConfig(
            name=f"train-{trial.hash[:16]}-{uuid.uuid4().hex[:8]}", storage_path=scratch
        ),
    )
    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(trainer.fit)
        while not (run.done() and told.empty()):
            try:
                yield told.get(timeout=POLL_SECONDS)
            except Empty:
                continue
        try:
            run.result()
        except ray.train.WorkerGroupError as error:
            failures = error.worker_failures.values()
            known = next((f for f in failures if isinstance(f, StepError)), None)
            raise known or LostWorkerError(str(error)) from None
        finally:
            told.shutdown(force=True)


def group_worker(resources: Resources) -> GroupWorker:
    """This worker of the process group that Ray Train has set up."""
    return GroupWorker(
        ray.train.torch.get_device(),
        parallel=resources.parallel,
        shard_teacher=resources.teacher_placement == "sharded",
    )


def _loop(config: dict[str, Any]) -> None:
    worker = group_worker(config["resources"])
    try:
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
                config["told"].put(bundle)
    except Exception as error:
        if isinstance(error, RuntimeError) and any(t in str(error).lower() for t in LOST_PEER):
            raise  # a consequence; the cause is another worker's
        raise failure_of(error) from error
