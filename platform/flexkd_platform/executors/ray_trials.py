"""A trial on its Ray worker: one worker trains in the Tune trial, several under Ray Train."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from ray import tune

from ..plan import Trial
from ..spec import Resources
from ..store import open_store
from ..tracking import Progress
from .early_stopping import Halving
from .executor import LostWorkerError
from .progress_batches import bundled
from .work import failure_of

STEP, SCORE = "step", "score"
"""What the Tune scheduler reads of a report: optimiser steps, and how good the student is there."""

STOPPING_SECONDS = 20
"""How long the process of a stopped trial may take to end before it is killed."""


def trial_resources(resources: Resources) -> dict[str, float]:
    """What Tune reserves for a trial.

    A trial of several workers is only their driver: it takes no CPU, since the workers it waits
    for must find all of them free. Tune wants some resource, so it asks for one byte of memory.
    """
    if resources.most_workers > 1:
        return {"memory": 1.0}
    return {"CPU": resources.trial_cpus, "GPU": resources.trial_gpus}


def run_tune_trial(
    config: dict[str, str],
    *,
    trials: Mapping[str, Trial],
    uri: str,
    resources: Resources,
    scratch: str,
    halving: Halving | None = None,
    runs: Any = None,
) -> None:
    """The Tune trainable: run the trial named by `config["trial"]` and report its progress.

    scratch: a URI where Ray Train may keep what it needs.
    runs: of `start_train_supervisor`, for trials of several workers.
    """
    # What Tune starts next in this process waits for this trial's end, or is never heard of again.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(STOPPING_SECONDS)
    error = detail = ""
    try:
        # A trial that is stopped does not return from a report: closing ends what it started.
        with contextlib.closing(
            _bundles(trials[config["trial"]], uri, resources, scratch, halving, runs)
        ) as bundles:
            for bundle in bundles:
                for rows, decision in _cut_at_scores(bundle, halving):
                    tune.report({"rows": rows, **decision})
    except LostWorkerError:
        raise
    except Exception as caught:  # reported to the driver as the trial's result
        failure = failure_of(caught)
        error, detail = str(failure), failure.detail
    tune.report({"rows": [], "error": error, "detail": detail, "ended": True})


def _cut_at_scores(
    bundle: list[Progress], halving: Halving | None
) -> Iterator[tuple[list[Progress], dict[str, float]]]:
    """The bundle, cut after every step at which the scheduler decides, with what it decides by."""
    rows: list[Progress] = []
    for progress in bundle:
        rows.append(progress)
        score = None if halving is None else halving.score(progress)
        if score is not None:
            yield rows, {STEP: progress.done, SCORE: score}
            rows = []
    if rows:
        yield rows, {}


def _bundles(
    trial: Trial, uri: str, resources: Resources, scratch: str, halving: Halving | None, runs: Any
) -> Generator[list[Progress]]:
    if resources.most_workers > 1:
        # Imported on the worker, and only where it is needed: it takes a second.
        from .ray_train import train_on_workers

        yield from train_on_workers(trial, uri, resources, scratch, runs)
        return
    # The driver of a trial of several workers needs no torch.
    from ..steps import run_trial
    from ..training import SoloWorker

    worker = SoloWorker("cuda" if resources.trial_gpus else "cpu")
    steps = run_trial(trial.distill, trial.evaluate, open_store(uri), worker, resources)
    # A step at which the scheduler decides is sent at once: the training may end there.
    yield from bundled(steps, lambda p: halving is not None and halving.score(p) is not None)
