"""The sweep on Ray Tune: one experiment, which starts a trial when the scheduler submits it.

Tune requests trials from a searcher. This searcher returns the submitted ones, so that a trial
starts when its own needs are published, and all trials of a round belong to one experiment.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher

from ..plan import Trial
from ..spec import Resources
from ..store import Store
from ..tracking import Progress
from .early_stopping import Halving, RungScores
from .executor import LostWorkerError
from .inprocess import Finished
from .ray_trials import SCORE, STEP, STOPPING_SECONDS, run_tune_trial, trial_resources
from .train_supervisor import END_SECONDS, start_train_supervisor
from .work import Advanced, Broken, Ended, OnEvent, Pruned, Started, StepError, TrialWork

LOST_WORKER_RETRIES = 2
"""Retries of a trial that lost a process. A trial that failed is not retried."""

MOST_PENDING = 10_000
"""More trials than the scheduler ever submits at a time."""

IDLE_SECONDS = 1.0
"""How long the searcher waits for a submitted trial while none runs."""


class RaySweep:
    """A Tune experiment in a separate thread.

    An error of a trial is reported as its result; Tune only retries trials that lost a process.
    Ray's own files are in `<storage>/ray/<name>` and are deleted at the end.
    """

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        store: Store,
        resources: Resources,
        halving: Halving | None,
        scores: RungScores,
        on_event: OnEvent,
    ) -> None:
        self._name, self._store, self._on_event = name, store, on_event
        self._searcher = SubmittedTrials()
        self._relay = _Relay(halving)
        self._runs = start_train_supervisor() if resources.most_workers > 1 else None
        self._cancelled = False
        tuner = self._tuner({trial.hash: trial for trial in trials}, resources, halving, scores)
        self._thread = threading.Thread(target=self._fit, args=(tuner,), name=name, daemon=True)
        self._thread.start()

    def submit(self, work: TrialWork, on_event: OnEvent) -> TrialHandle:
        """Make Tune start the trial."""
        self._relay.expect(work, on_event)
        self._searcher.put(work.trial.hash)
        return TrialHandle(self._relay, work)

    def close(self) -> None:
        """Wait until the experiment and everything that it started has ended."""
        self._searcher.finish()
        self._thread.join()

    def cancel(self, seconds: float) -> None:
        """Stop all trials; returns when they have ended, or after `seconds`."""
        self._cancelled = True
        self._searcher.finish()
        self._relay.cancel()
        self._thread.join(seconds)

    def _tuner(
        self,
        trials: Mapping[str, Trial],
        resources: Resources,
        halving: Halving | None,
        scores: RungScores,
    ) -> tune.Tuner:
        # A report between two epochs has no score; by default Tune would reject it.
        os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"
        # Our scheduler limits the pending trials; by default Tune would allow one.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_PENDING)
        # By default Tune would wait ten minutes for a stopped trial.
        os.environ["TUNE_FORCE_TRIAL_CLEANUP_S"] = str(STOPPING_SECONDS)
        trainable = tune.with_parameters(
            run_tune_trial,
            trials=trials,
            uri=self._store.uri,
            resources=resources,
            scratch=self._store.uri_of(f"ray/{self._name}"),
            halving=halving,
            runs=self._runs,
        )
        return tune.Tuner(
            tune.with_resources(trainable, trial_resources(resources)),
            tune_config=tune.TuneConfig(
                search_alg=self._searcher,
                num_samples=len(trials),
                reuse_actors=True,
                scheduler=None if halving is None else _asha(halving, scores),
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name=self._name,
                storage_path=self._store.uri_of("ray"),
                callbacks=[self._relay],
                stop=_StopAll(self._relay),
                failure_config=tune.FailureConfig(max_failures=LOST_WORKER_RETRIES),
                verbose=0,
            ),
        )

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
            if self._runs is not None:
                ray.wait([self._runs.ended.remote()], timeout=2 * END_SECONDS)
                ray.kill(self._runs)  # and its remaining runs; Tune would keep its handle alive
        except BaseException as error:
            if not self._cancelled:
                self._on_event(Broken(error))
        finally:
            with contextlib.suppress(OSError):
                self._store.filesystem.delete_dir(f"{self._store.root}/ray/{self._name}")


class TrialHandle(Finished):
    """A handle to a submitted trial."""

    def __init__(self, relay: _Relay, work: TrialWork) -> None:
        self._relay, self._work = relay, work

    def cancel(self) -> None:
        """Report no further events; the trial is stopped with the sweep."""
        self._relay.drop(self._work)


class SubmittedTrials(Searcher):  # type: ignore[misc]
    """A searcher that suggests the submitted trials, in order."""

    def __init__(self) -> None:
        super().__init__(metric=SCORE, mode="max")
        self._ready: queue.Queue[str | None] = queue.Queue()
        self._live: set[str] = set()
        self._finished = False

    def put(self, digest: str) -> None:
        """Add a trial that is ready."""
        self._ready.put(digest)

    def finish(self) -> None:
        """Mark the end: no further trial will be submitted."""
        self._ready.put(None)

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """A trial's config; None while none is ready; `FINISHED` after the last one.

        While no trial runs, Tune sleeps for a second after a None, so this method waits instead.
        """
        if self._finished:
            return str(Searcher.FINISHED)
        try:
            digest = self._ready.get(block=not self._live, timeout=IDLE_SECONDS)
        except queue.Empty:
            return None
        if digest is None:
            self._finished = True
            return str(Searcher.FINISHED)
        self._live.add(trial_id)
        return {"trial": digest}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended."""
        self._live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: a job resumes from the store, not from Tune's checkpoints."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: nothing was saved."""

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings to resume; we resume from the store instead.
        return {}


class _StopAll(tune.Stopper):  # type: ignore[misc]
    """Stops the experiment when the sweep is cancelled."""

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stop a single trial."""
        return False

    def stop_all(self) -> bool:
        """Whether the sweep was cancelled."""
        return self._relay.cancelled


def _trial_name(trial: TuneTrial) -> str:
    """Names must be unique and the same on a retry; the default contains a timestamp."""
    return str(trial.config["trial"][:16])


def _asha(halving: Halving, scores: RungScores) -> ASHAScheduler:
    """Tune's ASHA in optimiser steps. `max_t` is never reached: no trial is stopped at its end.

    Every sweep creates a new scheduler, so the rung results of earlier trials are replayed, as if
    those trials had run first.
    """
    scheduler = ASHAScheduler(
        time_attr=STEP,
        metric=SCORE,
        mode="max",
        grace_period=halving.grace_steps,
        reduction_factor=halving.reduction_factor,
        max_t=2**31,
        # Otherwise a trial that has passed a rung is compared again at lower rungs.
        stop_last_trials=False,
    )
    for digest, rungs in scores.items():
        before = TuneTrial("before", stub=True, trial_id=digest)
        scheduler.on_trial_add(None, before)
        for step, score in rungs:
            scheduler.on_trial_result(None, before, {STEP: step, SCORE: score})
        scheduler.on_trial_remove(None, before)
    return scheduler


class _Relay(tune.Callback):  # type: ignore[misc]
    """Converts Tune's callbacks to events.

    A retried trial reports the same steps again; each step is forwarded once.
    """

    def __init__(self, halving: Halving | None) -> None:
        self._halving = halving
        self._works: dict[str, tuple[TrialWork, OnEvent]] = {}
        self._reported: dict[str, int] = {}
        self._last: dict[str, Progress] = {}
        self._ended: set[str] = set()
        self._failures: dict[str, StepError] = {}
        self.cancelled = False

    def expect(self, work: TrialWork, on_event: OnEvent) -> None:
        """Forward the trial's events."""
        self._works[work.trial.hash] = (work, on_event)

    def drop(self, work: TrialWork) -> None:
        """Stop forwarding the trial's events."""
        self._works.pop(work.trial.hash, None)

    def cancel(self) -> None:
        """Stop forwarding events, and stop the experiment."""
        self.cancelled = True
        self._works.clear()

    def on_trial_start(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """A worker has started the trial, for the first time or on a retry."""
        digest = trial.config["trial"]
        if digest not in self._reported:
            self._reported[digest] = 0
            self._send(digest, Started)

    def on_trial_result(
        self, iteration: int, trials: Any, trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """The trial has reported new steps or its result."""
        digest = trial.config["trial"]
        # Removed, since Tune keeps the last result of every trial and writes it to its state.
        rows: list[Progress] = result.pop("rows", [])
        if rows:
            self._last[digest] = rows[-1]
        new = [progress for progress in rows if progress.done > self._reported[digest]]
        if new:
            self._reported[digest] = new[-1].done
            self._send(digest, Advanced, new)
        if result.get("ended"):
            self._ended.add(digest)
        if result.get("error"):
            self._failures[digest] = StepError(result["error"], result.pop("detail"))

    def on_trial_complete(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """The trial has ended by itself, or was stopped early."""
        digest = trial.config["trial"]
        if digest in self._ended:
            self._send(digest, Ended, self._failures.get(digest))
        elif not self.cancelled:
            self._send(digest, Pruned, self._reason(self._last[digest]))

    def on_trial_error(self, iteration: int, trials: Any, trial: TuneTrial, **info: Any) -> None:
        """Tune has given up on the trial."""
        self._send(trial.config["trial"], Ended, _lost(trial.get_pickled_error()))

    def _send(self, digest: str, event: Any, *content: Any) -> None:
        if digest in self._works:
            work, on_event = self._works[digest]
            on_event(event(work, *content))

    def _reason(self, last: Progress) -> str:
        assert self._halving is not None, "only a scheduler stops a trial"
        values = last.metrics.values if last.metrics else {}
        return (
            f"stopped at step {last.done} of {last.total}: {self._halving.metric} "
            f"{values[self._halving.metric]:.4f} is not among the best "
            f"1/{self._halving.reduction_factor} at this step"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its callbacks to resume; we resume from the store instead, and an event queue
        # cannot be pickled.
        return {}


def _lost(error: Exception | None) -> StepError:
    """The failure of a trial that Tune gave up on."""
    detail = "".join(traceback.format_exception(error)) if error else ""
    if isinstance(error, RayTaskError):
        error = error.cause
    if error is None or isinstance(error, RayActorError | LostWorkerError):
        runs = LOST_WORKER_RETRIES + 1
        reason = f"its process was lost in all {runs} attempts (killed, or out of memory?)"
        return StepError(reason, detail)
    return StepError(str(error).strip().splitlines()[-1], detail)
