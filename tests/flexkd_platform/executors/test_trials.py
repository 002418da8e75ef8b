"""Trials: one contract for both executors, and what only Ray can do to a trial."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log
from flexkd_platform.executors import Executor
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.plan import Plan
from flexkd_platform.spec import Resources
from flexkd_platform.store import Store

from ..tiny_jobs import Heard, PlanOf, SpecOf, StoreWith, metrics_of, run_trials

Open = Callable[..., Executor]

TOO_FAST = 1e30
"""A learning rate after whose first step no loss is finite."""


@pytest.fixture(params=["in-process", pytest.param("ray", marks=pytest.mark.ray)])
def open_executor(request: pytest.FixtureRequest) -> Open:
    """`open_executor(store, **resources)`, on either executor."""

    def make(store: Store, **resources: Any) -> Executor:
        if request.param == "in-process":
            return InProcessExecutor(store, Resources(**resources))
        return on_ray(store, **resources)

    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return make


def on_ray(store: Store, **resources: Any) -> Executor:
    from flexkd_platform.executors.ray_executor import RayExecutor

    return RayExecutor(store, Resources(**resources), "local")


@pytest.fixture
def plan(spec_of: SpecOf, plan_of: PlanOf) -> Plan:
    """A trial of every method."""
    methods = ("ft", "kd", "projector", "cka", "flexkd")
    return plan_of(spec_of(sweep={"methods": [{"kind": kind} for kind in methods], "seeds": [1]}))


@pytest.fixture
def failing_plan(spec_of: SpecOf, plan_of: PlanOf) -> Plan:
    """Three trials; the second one's loss is not finite."""
    axes = {"distill.learning_rate": [1e-3, TOO_FAST, 2e-3]}
    return plan_of(
        spec_of(sweep={"methods": [{"kind": "ft"}], "axes": axes, "seeds": [1], "baseline": None})
    )


def test_trials_train_as_in_this_process_and_steps_are_told_once(
    plan: Plan, store_with: StoreWith, open_executor: Open, heard: Heard
) -> None:
    here, there = store_with(plan), store_with(plan)
    run_trials(InProcessExecutor(here, Resources()), plan.trials, Heard())
    run_trials(open_executor(there, max_concurrent_trials=2), plan.trials, heard)
    assert heard.failures == {}
    for trial in plan.trials:
        log = read_log(trial.distill, there)
        # The same code with the same number of threads: the same bits.
        assert log == read_log(trial.distill, here)
        assert metrics_of(trial, there) == metrics_of(trial, here)
        assert heard.losses(trial) == [entry.values["train/loss"] for entry in log]
        assert heard.steps(trial) == [1, 2, 3]
        assert heard.of(trial) == ["started", "ended"]


def test_a_failing_trial_leaves_the_others_alone(
    failing_plan: Plan, store_with: StoreWith, open_executor: Open, heard: Heard
) -> None:
    store = store_with(failing_plan)
    run_trials(open_executor(store, max_concurrent_trials=1), failing_plan.trials, heard)
    good, bad, other = failing_plan.trials
    assert list(heard.failures) == [bad.hash]
    failure = heard.failures[bad.hash]
    assert str(failure).startswith("the loss is ")
    assert "at step 2 of 3" in str(failure)
    assert "FloatingPointError" in failure.detail
    assert heard.steps(bad) == [1], "what was trained before is told"
    assert [heard.of(trial) for trial in failing_plan.trials] == [["started", "ended"]] * 3
    assert [store.has(trial.evaluate) for trial in (good, bad, other)] == [True, False, True]
    assert store.list_folder("ray") == [], "what Tune keeps is gone"


@pytest.mark.ray
def test_a_trial_whose_process_dies_is_run_again(
    plan: Plan,
    store_with: StoreWith,
    ray_cluster: None,
    heard: Heard,
    by_value: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from flexkd_platform.executors import ray_sweep

    once, always, other = plan.trials[:3]
    deadly = partial(_deadly, deaths={once.hash: 1, always.hash: 99}, scratch_folder=str(tmp_path))
    monkeypatch.setattr(ray_sweep, "run_tune_trial", deadly)
    store = store_with(plan)
    run_trials(on_ray(store, max_concurrent_trials=1), [once, always, other], heard)
    assert [heard.of(trial) for trial in (once, always, other)] == [["started", "ended"]] * 3
    assert heard.steps(once) == [1, 2, 3], "steps told before the loss are not told again"
    assert store.has(once.evaluate)
    assert store.has(other.evaluate)
    assert list(heard.failures) == [always.hash]
    failure = heard.failures[always.hash]
    assert str(failure).startswith("its process was lost in all 3 attempts")
    assert "\n" not in str(failure)
    assert [len((tmp_path / trial.hash).read_text()) for trial in (once, always)] == [1, 3]


@pytest.mark.ray
def test_trials_of_two_workers_run_end_to_end(
    spec_of: SpecOf, plan_of: PlanOf, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    """A nested Ray Train run. One that fails is in test_elastic.py."""
    from flexkd_platform.executors.ray_executor import RayExecutor

    plan = plan_of(spec_of(sweep={"methods": [{"kind": "flexkd"}], "seeds": [1]}))
    (trial,) = plan.trials
    alone, store = store_with(plan), store_with(plan)
    run_trials(InProcessExecutor(alone, Resources()), plan.trials, Heard())
    executor = RayExecutor(store, Resources(trial_workers=2), "local")
    assert executor.concurrent_trials() == 1
    run_trials(executor, plan.trials, heard)
    assert heard.failures == {}
    assert heard.of(trial) == ["started", "ended"]
    assert heard.steps(trial) == list(range(1, 4))
    logged = [entry.values["train/loss"] for entry in read_log(trial.distill, alone)]
    assert heard.losses(trial) == pytest.approx(logged, rel=1e-4)
    assert metrics_of(trial, store) == pytest.approx(metrics_of(trial, alone))
    assert store.list_folder("ray") == []


@pytest.fixture
def by_value() -> Iterator[None]:
    """Functions of this module reach workers, which cannot import it, by their code."""
    import sys

    from ray import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def _deadly(
    config: dict[str, str], *, deaths: dict[str, int], scratch_folder: str, **rest: Any
) -> None:
    """The trainable, whose process is killed after a trial's second step so many times."""
    from flexkd_platform.executors import progress_batches as bundles
    from flexkd_platform.executors import ray_trials

    real = ray_trials._bundles
    seconds, bundles.BUNDLE_SECONDS = bundles.BUNDLE_SECONDS, 0.0  # each step is told at once

    def dying(*arguments: Any) -> Iterator[Any]:
        for bundle in real(*arguments):
            yield bundle
            if bundle[-1].done == 2:
                with open(f"{scratch_folder}/{config['trial']}", "a+") as stream:
                    stream.seek(0)
                    if len(stream.read()) < deaths.get(config["trial"], 0):
                        stream.write("x")
                        stream.flush()
                        os.kill(os.getpid(), signal.SIGKILL)

    ray_trials._bundles = dying
    try:
        ray_trials.run_tune_trial(config, **rest)
    finally:
        ray_trials._bundles, bundles.BUNDLE_SECONDS = real, seconds
