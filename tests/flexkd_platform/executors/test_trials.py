"""Trials: one contract for both executors, and what only Ray can do to a trial."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.executors import Executor, InProcessExecutor
from flexkd_platform.plan import Plan
from flexkd_platform.spec import Resources
from flexkd_platform.steps import read_log
from flexkd_platform.store import Store

from .conftest import Heard, PlanOf, SpecOf, StoreWith, metrics_of

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


@pytest.mark.ray
def test_ray_trains_as_this_process_does(
    plan: Plan, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    here, there = store_with(plan), store_with(plan)
    InProcessExecutor(here, Resources()).trials(plan.trials, Heard())
    on_ray(there).trials(plan.trials, heard)
    for trial in plan.trials:
        assert metrics_of(trial, there) == metrics_of(trial, here)
        # The same code with the same number of threads: the same bits.
        assert read_log(trial.distill, there) == read_log(trial.distill, here)
    assert heard.failures == {}


def test_steps_are_told_once_and_in_order(
    plan: Plan, store_with: StoreWith, open_executor: Open, heard: Heard
) -> None:
    store = store_with(plan)
    open_executor(store).trials(plan.trials, heard)
    for trial in plan.trials:
        logged = [entry.values["train/loss"] for entry in read_log(trial.distill, store)]
        assert heard.losses(trial) == logged
        assert heard.steps(trial) == [1, 2, 3]
        assert heard.of(trial) == ["started", "ended"]


def test_a_failing_trial_leaves_the_others_alone(
    failing_plan: Plan, store_with: StoreWith, open_executor: Open, heard: Heard
) -> None:
    store = store_with(failing_plan)
    open_executor(store).trials(failing_plan.trials, heard)
    good, bad, other = failing_plan.trials
    assert list(heard.failures) == [bad.hash]
    failure = heard.failures[bad.hash]
    assert str(failure).startswith("the loss is ")
    assert "at step 2 of 3" in str(failure)
    assert "FloatingPointError" in failure.detail
    assert heard.steps(bad) == [1], "what was trained before is told"
    assert [heard.of(trial) for trial in failing_plan.trials] == [["started", "ended"]] * 3
    assert [store.has(trial.evaluate) for trial in (good, bad, other)] == [True, False, True]


@pytest.mark.ray
@pytest.mark.parametrize("times", [1, 99])
def test_a_trial_whose_process_dies_is_run_again(
    times: int,
    failing_plan: Plan,
    store_with: StoreWith,
    ray_cluster: None,
    heard: Heard,
    by_value: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from flexkd_platform.executors import ray_trials

    dying, _, other = failing_plan.trials
    deaths = tmp_path / "deaths"
    trainable = partial(_dying, victim=dying.hash, times=times, deaths=str(deaths))
    monkeypatch.setattr(ray_trials, "_trainable", trainable)
    store = store_with(failing_plan)
    on_ray(store).trials([dying, other], heard)
    assert store.has(other.evaluate)
    assert heard.of(dying) == heard.of(other) == ["started", "ended"]
    assert other.hash not in heard.failures
    if times == 1:
        assert heard.failures == {}
        assert store.has(dying.evaluate)
        assert heard.steps(dying) == [1, 2, 3], "steps told before the loss are not told again"
        assert len(deaths.read_text()) == 1
    else:
        failure = heard.failures[dying.hash]
        assert str(failure).startswith("its process was lost in each of 3 runs")
        assert "\n" not in str(failure)
        assert len(deaths.read_text()) == 3


@pytest.mark.ray
def test_tune_leaves_nothing_in_the_storage(
    failing_plan: Plan, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    store = store_with(failing_plan)
    on_ray(store).trials(failing_plan.trials[:1], heard)
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


def _dying(config: dict[str, str], *, victim: str, times: int, deaths: str, **rest: Any) -> None:
    """The trainable, in a process that is killed after the second step of one trial."""
    from flexkd_platform.executors import bundles, ray_trials

    real = ray_trials._bundles
    seconds, bundles.BUNDLE_SECONDS = bundles.BUNDLE_SECONDS, 0.0  # each step is told at once

    def deadly(*arguments: Any) -> Iterator[Any]:
        for bundle in real(*arguments):
            yield bundle
            if config["trial"] == victim and bundle[-1].done == 2:
                with open(deaths, "a+") as stream:
                    stream.seek(0)
                    if len(stream.read()) < times:
                        stream.write("x")
                        stream.flush()
                        os.kill(os.getpid(), signal.SIGKILL)

    ray_trials._bundles = deadly
    try:
        ray_trials._trainable(config, **rest)
    finally:
        ray_trials._bundles, bundles.BUNDLE_SECONDS = real, seconds
