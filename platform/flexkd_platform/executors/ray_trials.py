"""The sweep on Ray Tune: a trial of one worker runs in the trial, more workers under Ray Train."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler

from ..plan import Trial
from ..spec import Resources
from ..steps import run_trial
from ..store import Store, open_store
from ..training import Progress, SoloWorker
from .early_stopping import Halving, Scores
from .executor import LostWorkerError, StepError, TrialListener
from .inprocess import failure_of
from .progress_batches import bundled
from .train_supervisor import END_SECONDS, start_runs

STEP, SCORE = "step", "score"
"""What the scheduler reads of a report: optimiser steps, and how good the student is by then."""

STOPPING_SECONDS = 20
"""How long the process of a stopped trial may take to end before it is killed."""

LOST_WORKER_RETRIES = 2
"""How often a trial is started again that lost a process (not one that failed)."""


def run_trials_on_ray(
    trials: Sequence[Trial],
    listener: TrialListener,
    store: Store,
    resources: Resources,
    concurrent: int,
    name: str,
    halving: Halving | None,
    scores: Scores,
) -> None:
    """Run the trials as one Tune experiment called `name`; events reach the listener here.

    scores: of trials that trained before, which these are compared with too.

    A trial's own error is a result like any other; Tune starts only those again that lost a
    process. What Ray keeps for itself lies in `<storage>/ray/<name>` and is deleted at the end.
    """
    # A report between two epochs has no score to stop a trial by, which Tune takes for a mistake.
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
    # A trial that was stopped ends by itself, or is ended: by default Tune would wait ten minutes.
    os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = str(STOPPING_SECONDS)
    by_hash = {trial.hash: trial for trial in trials}
    runs = start_runs() if resources.most_workers > 1 else None
    trainable = tune.with_parameters(
        _trainable,
        trials=by_hash,
        uri=store.uri,
        resources=resources,
        scratch=store.uri_of(f"ray/{name}"),
        halving=halving,
        runs=runs,
    )
    tuner = tune.Tuner(
        tune.with_resources(trainable, trial_resources(resources)),
        param_space={"trial": tune.grid_search(list(by_hash))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            scheduler=None if halving is None else _asha(halving, scores),
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=store.uri_of("ray"),
            callbacks=[_Relay(by_hash, listener, halving)],
            failure_config=tune.FailureConfig(max_failures=LOST_WORKER_RETRIES),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
        if runs is not None:
            ray.wait([runs.ended.remote()], timeout=2 * END_SECONDS)
            ray.kill(runs)  # with what is still there; Tune would keep the handle
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


def _asha(halving: Halving, scores: Scores) -> ASHAScheduler:
    """Tune's, in optimiser steps; `max_t` is never met, since to be at its end stops no trial.

    It is a new one in every call, so the trials before are told to it again, as if they ran first.
    """
    scheduler = ASHAScheduler(
        time_attr=STEP,
        metric=SCORE,
        mode="max",
        grace_period=halving.grace_steps,
        reduction_factor=halving.reduction_factor,
        max_t=2**31,
        # Otherwise a trial that has passed a rung is compared again at the rungs below it.
        stop_last_trials=False,
    )
    for digest, told in scores.items():
        before = TuneTrial("before", stub=True, trial_id=digest)
        scheduler.on_trial_add(None, before)
        for step, score in told:
            scheduler.on_trial_result(None, before, {STEP: step, SCORE: score})
        scheduler.on_trial_remove(None, before)
    return scheduler


def _trainable(
    config: dict[str, str],
    *,
    trials: Mapping[str, Trial],
    uri: str,
    resources: Resources,
    scratch: str,
    halving: Halving | None = None,
    runs: Any = None,
) -> None:
    # What Tune starts next in this process waits for this trial's end, or is never heard of again.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(STOPPING_SECONDS)
    error = detail = ""
    try:
        # A trial that is stopped does not come back from a report: closing ends what it started.
        with contextlib.closing(
            _bundles(trials[config["trial"]], uri, resources, scratch, halving, runs)
        ) as told:
            for bundle in told:
                for rows, decision in _parted(bundle, halving):
                    tune.report({"rows": rows, **decision})
    except LostWorkerError:
        raise
    except Exception as caught:  # told to the driver as the trial's result
        failure = failure_of(caught)
        error, detail = str(failure), failure.detail
    tune.report({"rows": [], "error": error, "detail": detail, "ended": True})


def _parted(
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
    worker = SoloWorker("cuda" if resources.trial_gpus else "cpu")
    steps = run_trial(trial.distill, trial.evaluate, open_store(uri), worker, resources)
    # A step at which the scheduler decides waits for what it says: the training may end there.
    yield from bundled(steps, lambda p: halving is not None and halving.score(p) is not None)


class _Relay(tune.Callback):  # type: ignore[misc]
    """Passes what Tune tells on to the listener.

    A trial that is run again tells its steps again, the same ones: they are passed on once.
    """

    def __init__(
        self, trials: Mapping[str, Trial], listener: TrialListener, halving: Halving | None
    ) -> None:
        self._trials = trials
        self._listener = listener
        self._halving = halving
        self._told: dict[str, int] = {}
        self._last: dict[str, Progress] = {}
        self._done: set[str] = set()
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
        if rows:
            self._last[ours.hash] = rows[-1]
        new = [progress for progress in rows if progress.done > self._told[ours.hash]]
        if new:
            self._told[ours.hash] = new[-1].done
            self._listener.progressed(ours, new)
        if result.get("ended"):
            self._done.add(ours.hash)
        if result.get("error"):
            self._failures[ours.hash] = StepError(result["error"], result.pop("detail"))

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        ours = self._ours(trial)
        if ours.hash in self._done:
            self._listener.ended(ours, self._failures.get(ours.hash))
        else:
            self._listener.pruned(ours, self._reason(self._last[ours.hash]))

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        self._listener.ended(self._ours(trial), _lost(trial.get_pickled_error()))

    def _reason(self, last: Progress) -> str:
        assert self._halving is not None, "only a scheduler stops a trial"
        values = last.metrics.values if last.metrics else {}
        return (
            f"stopped at step {last.done} of {last.total}: {self._halving.metric} "
            f"{values[self._halving.metric]:.4f} is not among the best "
            f"1/{self._halving.reduction_factor} there"
        )

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
