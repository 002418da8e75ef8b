"""A trial of several data-parallel workers: a Ray Train run inside the Tune trial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.tune.integration.ray_train import TuneReportCallback
from torch import Tensor, nn

from ..plan import Trial
from ..spec import Resources
from ..steps import Progress, Worker, run_trial
from ..store import open_store

LOST_WORKER_RETRIES = 1
"""How often the workers are started again after one was lost or failed."""

REPORT_STEPS = 50
"""Ray Train's queue of reports is drained every two seconds: few reports, of many steps each."""


def train_on_workers(trial: Trial, uri: str, resources: Resources) -> None:
    """Run the trial on `resources.trial_workers` workers and wait for them.

    Raises:
        ray.train.TrainingFailedError: the workers failed, again after they were started anew.
    """
    ray.train.torch.TorchTrainer(
        _loop,
        train_loop_config={"trial": trial, "uri": uri, "threads": resources.trial_cpus},
        scaling_config=ray.train.ScalingConfig(
            num_workers=resources.trial_workers,
            use_gpu=resources.trial_gpus > 0,
            resources_per_worker={
                "CPU": resources.trial_cpus,
                **({"GPU": resources.trial_gpus} if resources.trial_gpus else {}),
            },
        ),
        run_config=ray.train.RunConfig(
            name=f"train-{trial.hash[:16]}",
            storage_path=f"{uri}/ray",
            failure_config=ray.train.FailureConfig(max_failures=LOST_WORKER_RETRIES),
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def _loop(config: dict[str, Any]) -> None:
    trial: Trial = config["trial"]
    worker = RayTrainWorker()
    bundle: list[Progress] = []
    steps = run_trial(
        trial.distill, trial.evaluate, open_store(config["uri"]), worker, config["threads"]
    )
    for progress in steps:
        bundle.append(progress)
        # By the step and not by the clock: every worker has to report the same number of times.
        if progress.done % REPORT_STEPS == 0 or progress.done == progress.total:
            ray.train.report({"rows": bundle, "error": "", "over": False})
            bundle = []


class RayTrainWorker(Worker):
    """One worker of the process group that Ray Train has set up (gloo or NCCL)."""

    def __init__(self) -> None:
        context = ray.train.get_context()
        self.rank = context.get_world_rank()
        self.size = context.get_world_size()
        self.device = ray.train.torch.get_device()

    def wrap(self, module: nn.Module) -> nn.Module:
        """DistributedDataParallel, which averages gradients over the workers."""
        wrapped = ray.train.torch.prepare_model(
            module, parallel_strategy_kwargs={"find_unused_parameters": True}
        )
        assert isinstance(wrapped, nn.Module)
        return wrapped

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all workers in rank order, with a gradient for this worker's own."""
        gathered: Tensor = _GatherRows.apply(rows, tuple(counts), self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def barrier(self) -> None:
        """Wait for all workers."""
        dist.barrier()


class _GatherRows(torch.autograd.Function):
    """All-gather of unequal numbers of rows, with the gradient of the own ones.

    Every worker computes the whole loss from the gathered rows. The parameters' gradient is the
    sum over the workers of what flows through their own rows; DDP takes the mean, so each share is
    multiplied by the number of workers.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: rows.shape[0]] = rows
        received = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(received, padded)
        return torch.cat([part[:count] for part, count in zip(received, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        start = sum(ctx.counts[: ctx.rank])
        own = gradients[0][start : start + ctx.counts[ctx.rank]]
        return own * len(ctx.counts), None, None
