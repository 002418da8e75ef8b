"""Run a step by its kind: called by every executor, in its own process or on a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..plan import DistillConfig, EvaluateConfig, Step
from ..spec import Resources
from ..store import Store
from ..tracking import Progress
from .context import Output, RunContext
from .table import RUN

if TYPE_CHECKING:
    from ..training import Worker


def execute(step: Step, store: Store, context: RunContext) -> Iterator[Progress]:
    """Run a step of any kind and publish its artifact."""
    yield from RUN[step.kind](step.config, store, Output(step, store), context)


def run_step(
    step: Step,
    store: Store,
    threads: int,
    checkpoint_steps: int | None = None,
    *,
    spread_teacher: bool = False,
) -> Iterator[Progress]:
    """Run a step on a single worker, unless its artifact is published.

    checkpoint_steps: optimiser steps between checkpoints of a training; None: once per epoch.
    spread_teacher: whether an online teacher is spread over all devices of this process.

    Raises:
        ValueError: steps of this kind only run in a pass or a trial.
    """
    if store.has(step):
        return
    if step.config.kind.runs_on in {"pass", "trial"}:
        raise ValueError(f"{step.kind} steps only run in a pass or a trial")
    context = RunContext.alone(threads, checkpoint_steps, spread_teacher=spread_teacher)
    yield from execute(step, store, context)


def run_trial(
    distill: Step[DistillConfig],
    evaluate: Step[EvaluateConfig],
    store: Store,
    worker: Worker,
    resources: Resources,
) -> Iterator[Progress]:
    """Train and evaluate one student; published steps are skipped.

    Only the first worker evaluates. The others return without waiting for it.
    """
    if not _agreed(store.has(distill), worker):
        yield from execute(distill, store, RunContext.of_trial(worker, resources))
    if worker.rank == 0 and not store.has(evaluate):
        yield from execute(evaluate, store, RunContext.alone(resources.trial_cpus))


def _agreed(published: bool, worker: Worker) -> bool:
    """The first worker's value, for all workers: if they differed, some would wait forever."""
    import torch

    found = torch.tensor([[float(published)]], device=worker.device)
    return bool(worker.gather(found, [1] * worker.size)[0])
