"""Run a step by its kind: what every executor calls, in its own process or on a worker."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..plan import Step
from ..spec import Resources
from ..store import Store
from ..training.loop import Progress
from ..training.worker import SoloWorker, Worker, local_device
from .base import make_base_model
from .dataset import make_dataset
from .distill import make_student
from .evaluate import make_evaluation
from .select import make_selection
from .teacher import make_teacher


def run_step(
    step: Step,
    store: Store,
    threads: int,
    checkpoint_steps: int | None = None,
    *,
    spread_teacher: bool = False,
) -> Iterator[Progress]:
    """Run a step that one worker runs alone, unless its artifact is there.

    checkpoint_steps: optimiser steps between checkpoints of a training; epochs when None.
    spread_teacher: whether a teacher that is asked goes over all devices of this process.

    Raises:
        ValueError: the kind is run by a scoring pass or a trial instead.
    """
    if store.has(step):
        return
    if step.kind == "dataset":
        make_dataset(step, store)
    elif step.kind == "teacher":
        yield from make_teacher(step, store, threads, checkpoint_steps, spread_out=spread_teacher)
    elif step.kind == "base":
        make_base_model(step, store)
    elif step.kind == "select":
        make_selection(step, store)
    elif step.kind == "warm_up":
        alone = Resources(trial_cpus=threads, checkpoint_steps=checkpoint_steps)
        yield from make_student(step, store, SoloWorker(local_device()), alone)
    elif step.kind == "evaluate":
        make_evaluation(step, store, threads, spread_teacher=spread_teacher)
    else:
        raise ValueError(f"a {step.kind} step is not run alone")


def run_trial(
    distill: Step, evaluate: Step, store: Store, worker: Worker, resources: Resources
) -> Iterator[Progress]:
    """Train and measure one student; what is there already is not done again.

    The first worker measures alone. The others end before it: none waits for it.
    """
    if not _agreed(store.has(distill), worker):
        yield from make_student(distill, store, worker, resources)
    if worker.rank == 0 and not store.has(evaluate):
        make_evaluation(evaluate, store, resources.trial_cpus)


def _agreed(there: bool, worker: Worker) -> bool:
    """What the first worker saw: one that saw another thing would leave the rest waiting for it."""
    seen = torch.tensor([[float(there)]], device=worker.device)
    return bool(worker.gather(seen, [1] * worker.size)[0])
