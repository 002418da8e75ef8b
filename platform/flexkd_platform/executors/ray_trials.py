"""The sweep on Ray Tune: a trial of one worker runs in the trial, more workers under Ray Train."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from ..plan import Trial
from ..spec import Resources
from ..steps import Progress, SoloWorker, run_trial
from ..store import open_store
from .executor import StepError, TrialListener
from .inprocess import failure_of

REPORT_SECONDS = 1.0
"""A report to Tune is a round trip to the driver: training steps are reported in bundles."""

LOST_WORKER_RETRIES = 2
"""How often a trial is started again whose process was lost (not one that failed)."""


def run_trials_on_ray(
    trials: Sequence[Trial],
    listener: TrialListener,
    uri: str,
    resources: Resources,
    concurrent: int,
    name: str,
) -> None:
    """Run the trials as one Tune experiment called `name`; events reach the listener here.

    A trial's own error is a result like any other; Tune starts only those again whose process
    was lost.
    """
    by_hash = {trial.hash: trial for trial in trials}
    trainable = tune.with_resources(
        tune.with_parameters(_trainable, trials=by_hash, uri=uri, resources=resources),
        trial_resources(resources),
    )
    tuner = tune.Tuner(
        trainable,
        param_space={"trial": tune.grid_search(list(by_hash))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=concurrent,
            reuse_actors=resources.trial_workers == 1,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=f"{uri}/ray",
            callbacks=[_Relay(by_hash, listener)],
            failure_config=tune.FailureConfig(max_failures=LOST_WORKER_RETRIES),
            verbose=0,
        ),
    )
    tuner.fit()


def trial_resources(resources: Resources) -> dict[str, float]:
    """What Tune reserves for a trial.

    A trial of several workers is only their driver: it takes no CPU, since the workers it waits
    for must find all of them free. Tune wants some resource, so it asks for one byte of memory.
    """
    if resources.trial_workers > 1:
        return {"memory": 1.0}
    return {"CPU": resources.trial_cpus, "GPU": resources.trial_gpus}


def _trial_name(trial: TuneTrial) -> str:
    """Names must be unique and the same when tried again; the default has a clock in it."""
    return str(trial.config["trial"][:16])


def _trainable(
    config: dict[str, str], *, trials: Mapping[str, Trial], uri: str, resources: Resources
) -> None:
    trial = trials[config["trial"]]
    if resources.trial_workers > 1:
        # Imported on the worker, and only where it is needed: it takes a second.
        from .ray_train import train_on_workers

        train_on_workers(trial, uri, resources)
        tune.report({"rows": [], "error": "", "over": True})
        return
    error = detail = ""
    bundle: list[Progress] = []
    sent = time.monotonic()
    try:
        store = open_store(uri)
        for progress in run_trial(
            trial.distill,
            trial.evaluate,
            store,
            SoloWorker(_device(resources)),
            resources.trial_cpus,
        ):
            bundle.append(progress)
            if time.monotonic() - sent > REPORT_SECONDS:
                tune.report({"rows": bundle, "error": "", "over": False})
                bundle, sent = [], time.monotonic()
    except Exception as caught:  # told to the driver as the trial's result
        failure = failure_of(caught)
        error, detail = str(failure), failure.detail
    tune.report({"rows": bundle, "error": error, "detail": detail, "over": True})


def _device(resources: Resources) -> str:
    return "cuda" if resources.trial_gpus else "cpu"


class _Relay(tune.Callback):  # type: ignore[misc]
    """Passes what Tune tells on to the listener."""

    def __init__(self, trials: Mapping[str, Trial], listener: TrialListener) -> None:
        self._trials = trials
        self._listener = listener
        self._started: set[str] = set()
        self._failures: dict[str, StepError] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        if ours.hash not in self._started:
            self._started.add(ours.hash)
            self._listener.started(ours)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        ours = self._ours(trial)
        if result.get("rows"):
            self._listener.progressed(ours, result["rows"])
        if result.get("error"):
            self._failures[ours.hash] = StepError(result["error"], result.get("detail", ""))

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        self._listener.ended(ours, self._failures.get(ours.hash))

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        reason = trial.get_pickled_error() or RuntimeError("its worker process was lost")
        message = str(reason).strip().splitlines()[-1]
        detail = "".join(traceback.format_exception(reason))
        self._listener.ended(ours, StepError(message, detail))

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume from; we resume from the store instead, and what
        # listens (a terminal, a database connection) cannot be pickled.
        return {}

    def _ours(self, trial: TuneTrial) -> Trial:
        return self._trials[trial.config["trial"]]
