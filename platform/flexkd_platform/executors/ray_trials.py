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
from .system_metrics import observed
from .work import failure_of

STEP, SCORE = "step", "score"
"""The keys of a report that the Tune scheduler reads: optimiser steps, and the score by then."""

STOPPING_SECONDS = 20
"""Time for the process of a stopped trial to end before it is killed."""


def trial_resources(resources: Resources) -> dict[str, float]:
    """The resources that Tune reserves for a trial.

    A trial of several workers is only their driver. It reserves no CPU, since its workers need all
    of them. Tune requires some resource, so the trial requests one byte of memory.
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

    scratch: a URI that Ray Train uses as its storage path.
    runs: the handle from `start_train_supervisor`, for trials of several workers.
    """
    # The next trial in this process must wait for this one to end, or Tune never gets its reports.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(STOPPING_SECONDS)
    error = detail = ""
    try:
        # A stopped trial does not return from a report; closing the generator ends what it started.
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
    """Split the batch after each step at which the scheduler decides; adds that step's score."""
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
        # Imported on the worker, and only if needed: the import takes a second.
        from .ray_train import train_on_workers

        yield from train_on_workers(trial, uri, resources, scratch, runs)
        return
    # The driver of a trial of several workers needs no torch.
    from ..steps import run_trial
    from ..training import SoloWorker

    worker = SoloWorker("cuda" if resources.trial_gpus else "cpu")
    steps = run_trial(trial.distill, trial.evaluate, open_store(uri), worker, resources)
    # A step at which the scheduler decides is sent immediately: the trial may be stopped there.
    yield from bundled(
        observed(steps), lambda p: halving is not None and halving.score(p) is not None
    )
