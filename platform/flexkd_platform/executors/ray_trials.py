"""The sweep on Ray Tune: a trial of one worker runs in the trial, more workers under Ray Train."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial

from ..plan import Trial
from ..spec import Resources
from ..steps import Progress, SoloWorker, run_trial
from ..store import Store, open_store
from .bundles import bundled
from .executor import LostWorkerError, StepError, TrialListener
from .inprocess import failure_of

LOST_WORKER_RETRIES = 2
"""How often a trial is started again that lost a process (not one that failed)."""


def run_trials_on_ray(
    trials: Sequence[Trial],
    listener: TrialListener,
    store: Store,
    resources: Resources,
    concurrent: int,
    name: str,
) -> None:
    """Run the trials as one Tune experiment called `name`; events reach the listener here.

    A trial's own error is a result like any other; Tune starts only those again that lost a
    process. What Ray keeps for itself lies in `<storage>/ray/<name>` and is deleted at the end.
    """
    by_hash = {trial.hash: trial for trial in trials}
    trainable = tune.with_parameters(
        _trainable,
        trials=by_hash,
        uri=store.uri,
        resources=resources,
        scratch=store.uri_of(f"ray/{name}"),
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, trial_resources(resources)),
        param_space={"trial": tune.grid_search(list(by_hash))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=store.uri_of("ray"),
            callbacks=[_Relay(by_hash, listener)],
            failure_config=tune.FailureConfig(max_failures=LOST_WORKER_RETRIES),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    finally:
        with contextlib.suppress(OSError):
            store.filesystem.delete_dir(f"{store.root}/ray/{name}")


def trial_resources(resources: Resources) -> dict[str, float]:
    """What Tune reserves for a trial.

    A trial of several workers is only their driver: it takes no CPU, since the workers it waits
    for must find all of them free. Tune wants some resource, so it asks for one byte of memory.
    """
    if resources.most_workers > 1:
        return {"memory": 1.0}
    return {"CPU": resources.trial_cpus, "GPU": resources.trial_gpus}


def _trial_name(trial: TuneTrial) -> str:
    """Names must be unique and the same when tried again; the default has a clock in it."""
    return str(trial.config["trial"][:16])


def _trainable(
    config: dict[str, str],
    *,
    trials: Mapping[str, Trial],
    uri: str,
    resources: Resources,
    scratch: str,
) -> None:
    error = detail = ""
    try:
        for bundle in _bundles(trials[config["trial"]], uri, resources, scratch):
            tune.report({"rows": bundle})
    except LostWorkerError:
        raise
    except Exception as caught:  # told to the driver as the trial's result
        failure = failure_of(caught)
        error, detail = str(failure), failure.detail
    tune.report({"rows": [], "error": error, "detail": detail})


def _bundles(
    trial: Trial, uri: str, resources: Resources, scratch: str
) -> Iterator[list[Progress]]:
    if resources.most_workers > 1:
        # Imported on the worker, and only where it is needed: it takes a second.
        from .ray_train import train_on_workers

        return train_on_workers(trial, uri, resources, scratch)
    worker = SoloWorker("cuda" if resources.trial_gpus else "cpu")
    steps = run_trial(trial.distill, trial.evaluate, open_store(uri), worker, resources)
    return bundled(steps)


class _Relay(tune.Callback):  # type: ignore[misc]
    """Passes what Tune tells on to the listener.

    A trial that is run again tells its steps again, the same ones: they are passed on once.
    """

    def __init__(self, trials: Mapping[str, Trial], listener: TrialListener) -> None:
        self._trials = trials
        self._listener = listener
        self._told: dict[str, int] = {}
        self._failures: dict[str, StepError] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        if ours.hash not in self._told:
            self._told[ours.hash] = 0
            self._listener.started(ours)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        ours = self._ours(trial)
        # Taken out: Tune keeps the last result of every trial and writes it into its state.
        rows: list[Progress] = result.pop("rows", [])
        new = [progress for progress in rows if progress.done > self._told[ours.hash]]
        if new:
            self._told[ours.hash] = new[-1].done
            self._listener.progressed(ours, new)
        if result.get("error"):
            self._failures[ours.hash] = StepError(result["error"], result.pop("detail"))

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        self._listener.ended(ours, self._failures.get(ours.hash))

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        self._listener.ended(self._ours(trial), _lost(trial.get_pickled_error()))

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume from; we resume from the store instead, and what
        # listens (a terminal, a database connection) cannot be pickled.
        return {}

    def _ours(self, trial: TuneTrial) -> Trial:
        return self._trials[trial.config["trial"]]


def _lost(error: Exception | None) -> StepError:
    """Why a trial that Tune gave up on is not done."""
    detail = "".join(traceback.format_exception(error)) if error else ""
    if isinstance(error, RayTaskError):
        error = error.cause
    if error is None or isinstance(error, RayActorError | LostWorkerError):
        runs = LOST_WORKER_RETRIES + 1
        reason = f"its process was lost in each of {runs} runs (killed, or out of memory?)"
        return StepError(reason, detail)
    return StepError(str(error).strip().splitlines()[-1], detail)
