"""Run a step by its kind: what every executor calls, in its own process or on a worker."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..plan import DistillConfig, EvaluateConfig, Step
from ..spec import Resources
from ..store import Store
from ..tracking import Progress
from ..training import Worker
from .context import Output, RunContext
from .table import RUN


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
    """Run a step that one worker runs alone, unless its artifact is published.

    checkpoint_steps: optimiser steps between checkpoints of a training; epochs when None.
    spread_teacher: whether an online teacher is spread over all devices of this process.

    Raises:
        ValueError: the kind is run by a scoring pass or a trial instead.
    """
    if store.has(step):
        return
    if step.config.kind.runs_on in {"pass", "trial"}:
        raise ValueError(f"a {step.kind} step is not run alone")
    context = RunContext.alone(threads, checkpoint_steps, spread_teacher=spread_teacher)
    yield from execute(step, store, context)


def run_trial(
    distill: Step[DistillConfig],
    evaluate: Step[EvaluateConfig],
    store: Store,
    worker: Worker,
    resources: Resources,
) -> Iterator[Progress]:
    """Train and evaluate one student; what is published is not run again.

    The first worker evaluates alone. The others end before it and do not wait.
    """
    if not _agreed(store.has(distill), worker):
        yield from execute(distill, store, RunContext.of_trial(worker, resources))
    if worker.rank == 0 and not store.has(evaluate):
        yield from execute(evaluate, store, RunContext.alone(resources.trial_cpus))


def _agreed(published: bool, worker: Worker) -> bool:
    """What the first worker found: one that found otherwise would leave the rest waiting."""
    found = torch.tensor([[float(published)]], device=worker.device)
    return bool(worker.gather(found, [1] * worker.size)[0])
