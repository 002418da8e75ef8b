"""Trials that do badly are stopped, end with all they started, and leave their place to others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.artifacts import read_log
from flexkd_platform.executors import Halving, RungScores, stopping_problems
from flexkd_platform.executors.early_stopping import scores_of
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.executors.progress_batches import bundled
from flexkd_platform.plan import Plan, Trial
from flexkd_platform.spec import Asha, NoScheduler, Resources, SpecError
from flexkd_platform.store import Store
from flexkd_platform.tracking import Progress, StepMetrics

from ..tiny_jobs import Heard, PlanOf, SpecOf, StoreWith, run_trials

PATIENCE = 300.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""

HALVING = Halving("validation/accuracy", False, grace_steps=3, reduction_factor=2)
ERROR = Halving("validation/mse", True, grace_steps=3, reduction_factor=2)

EPOCHS = 6


@pytest.fixture
def plan(material: Path, spec_of: SpecOf, plan_of: PlanOf) -> Plan:
    """A trial that learns, one that stays where it started, and a third that learns too."""
    return planned(material, spec_of, plan_of, EPOCHS)


def planned(material: Path, spec_of: SpecOf, plan_of: PlanOf, epochs: int) -> Plan:
    data = {"source": "files", "path": str(material / "data"), "train": 40}
    return plan_of(
        spec_of(
            task={"kind": "regression", "data": data, "max_length": 20},
            evaluate={"metrics": ["mse"]},
            distill={"epochs": epochs, "batch_size": 16, "learning_rate": 1e-2},
            sweep={
                "methods": [{"kind": "ft"}],
                "axes": {"distill.learning_rate": [1e-2, 1e-9, 9e-3]},
                "seeds": [1],
            },
        )
    )


def on_ray(store: Store, **resources: Any) -> Any:
    from flexkd_platform.executors.ray_executor import RayExecutor

    return RayExecutor(store, Resources(**resources), "local")


@pytest.mark.ray
def test_a_trial_that_does_badly_is_stopped_and_its_process_works_on(
    plan: Plan, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    good, bad, other = plan.trials
    alone, store = store_with(plan), store_with(plan)
    run_trials(InProcessExecutor(alone, Resources()), plan.trials, Heard())
    assert_the_first_learns(plan, alone)
    run_trials(on_ray(store, max_concurrent_trials=1), plan.trials, heard, ERROR)
    assert heard.failures == {}
    assert heard.of(good) == ["started", "ended"]
    assert heard.of(bad) == ["started", "pruned"]
    assert heard.of(other)[0] == "started"
    assert_stopped_early(bad, store, heard)
    # The process that was stopped in the middle trains the next one, to the same bits.
    told = [entry.values["train/loss"] for entry in read_log(other.distill, alone)]
    assert heard.losses(other) == told[: len(heard.losses(other))]
    assert_all_given_back()
    assert store.list_folder("ray") == []


@pytest.mark.ray
def test_a_trial_is_compared_with_those_of_earlier_rounds(
    plan: Plan, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    """On its own it would be the best of its round, and go on."""
    good, bad, _ = plan.trials
    store = store_with(plan)
    executor = on_ray(store, max_concurrent_trials=1)
    run_trials(executor, [good], heard, ERROR)
    before = scores_of(heard.progress[good.hash], ERROR)
    assert [step for step, _ in before] == [3, 6, 9, 12, 15], "epochs, and not the end"
    run_trials(executor, [bad], heard, ERROR, {good.hash: before})
    assert heard.failures == {}
    assert heard.of(bad) == ["started", "pruned"]
    assert_stopped_early(bad, store, heard)


@pytest.mark.ray
def test_a_run_of_two_workers_is_stopped_with_its_workers(
    material: Path,
    spec_of: SpecOf,
    plan_of: PlanOf,
    store_with: StoreWith,
    ray_cluster: None,
    heard: Heard,
) -> None:
    """They train on while it is decided, so the training is one without an end."""
    plan = planned(material, spec_of, plan_of, 10_000)
    _, bad, _ = plan.trials
    store = store_with(plan)
    scores = {"a better one": [(3, 0.0)]}
    run_trials(on_ray(store, trial_workers=2), [bad], heard, ERROR, scores)
    assert heard.failures == {}
    assert heard.of(bad) == ["started", "pruned"]
    assert_stopped_early(bad, store, heard)
    assert_all_given_back()


def assert_the_first_learns(plan: Plan, store: Store) -> None:
    """At the first rung, the end of the first epoch; or there would be nothing to decide by."""
    good, bad = (read_log(trial.distill, store)[2].values for trial in plan.trials[:2])
    assert good["validation/mse"] < bad["validation/mse"]


def assert_stopped_early(trial: Trial, store: Store, heard: Heard) -> None:
    steps = heard.steps(trial)
    assert steps == list(range(1, len(steps) + 1))
    assert steps[-1] < heard.progress[trial.hash][-1].total
    assert not store.has(trial.distill)
    assert not store.has(trial.evaluate)
    reason = heard.reasons[trial.hash]
    assert reason.startswith("stopped at step ")
    assert "validation/mse" in reason


def assert_all_given_back() -> None:
    """No CPU, placement group or actor of a trial is held by anybody."""
    import ray
    from ray.util import placement_group_table

    end = time.monotonic() + PATIENCE
    while True:
        free = ray.available_resources().get("CPU", 0.0) == ray.cluster_resources()["CPU"]
        states = {group["state"] for group in placement_group_table().values()}
        if free and states <= {"REMOVED"}:
            return
        assert time.monotonic() < end, (ray.available_resources(), placement_group_table())
        time.sleep(0.1)


# --- without Ray -------------------------------------------------------------------------------


def test_without_ray_nothing_is_stopped_and_that_is_said(
    plan: Plan, store_with: StoreWith, heard: Heard
) -> None:
    with pytest.raises(SpecError) as caught:
        run_trials(InProcessExecutor(store_with(plan), Resources()), plan.trials, heard, HALVING)
    assert heard.events == []
    asha = Asha(kind="asha", grace_steps=1)
    (problem,) = stopping_problems(asha, "none")
    assert caught.value.problems == (problem,)
    assert problem.path == "sweep.scheduler.kind"
    assert "--set sweep.scheduler='{kind: none}'" in problem.remedy
    assert stopping_problems(asha, "local") == []
    assert stopping_problems(NoScheduler(), "none") == []


def progress(done: int, **values: float) -> Progress:
    named = {f"validation/{name}": value for name, value in values.items()}
    return Progress(done, 10, 4, StepMetrics(done, {"train/loss": 0.1, **named}))


def test_the_score_is_the_validation_metric_with_more_being_better() -> None:
    loss = Halving("validation/nll", True, grace_steps=1, reduction_factor=2)
    assert HALVING.score(progress(5, accuracy=0.75, nll=0.5)) == 0.75
    assert loss.score(progress(5, accuracy=0.75, nll=0.5)) == -0.5


def test_nothing_is_decided_between_epochs_nor_at_the_end() -> None:
    assert HALVING.score(progress(5)) is None
    assert HALVING.score(Progress(5, 10, 4)) is None
    assert HALVING.score(progress(10, accuracy=0.1)) is None


@pytest.mark.ray
def test_reports_are_cut_where_the_scheduler_decides() -> None:
    from flexkd_platform.executors.ray_trials import SCORE, STEP, _cut_at_scores

    steps = [progress(1), progress(2, accuracy=0.5), progress(3), progress(4, accuracy=0.6)]
    parts = list(_cut_at_scores(steps, HALVING))
    assert [[p.done for p in rows] for rows, _ in parts] == [[1, 2], [3, 4]]
    assert [told for _, told in parts] == [{STEP: 2, SCORE: 0.5}, {STEP: 4, SCORE: 0.6}]
    assert list(_cut_at_scores(steps, None)) == [(steps, {})]
    assert list(_cut_at_scores(steps[:1], HALVING)) == [(steps[:1], {})]


def test_a_step_that_is_decided_by_is_told_before_the_next_is_taken() -> None:
    taken: list[int] = []

    def steps() -> Iterator[Progress]:
        for each in (progress(1), progress(2, accuracy=0.5), progress(3)):
            taken.append(each.done)
            yield each

    told = bundled(steps(), lambda p: HALVING.score(p) is not None)
    assert [p.done for p in next(told)] == [1, 2]
    assert taken == [1, 2]
    assert [p.done for p in next(told)] == [3]


@pytest.mark.ray
def test_rungs_are_passed_once_and_the_end_is_none() -> None:
    told = deciding({})
    assert told("first", 7, 0.6) == GO, "its first report is past two rungs, 3 and 6"
    assert told("first", 8, 0.1) == GO, "of which it passed the higher; the lower decides no more"
    assert told("second", 3, 0.1) == GO, "nobody was compared at the rung of 3"
    assert told("second", 6, 0.5) == STOP
    assert told("first", 10**6, 0.6) == GO, "however long a trial is, its end is no reason"


GO, STOP = "CONTINUE", "STOP"


def deciding(before: RungScores) -> Callable[[str, int, float], str]:
    """Tune's own scheduler, with our settings, on reports of trials by name."""
    from ray.tune.experiment import Trial as TuneTrial

    from flexkd_platform.executors.ray_sweep import _asha
    from flexkd_platform.executors.ray_trials import SCORE, STEP

    scheduler, trials = _asha(HALVING, before), {}

    def told(name: str, step: int, score: float) -> str:
        if name not in trials:
            trials[name] = TuneTrial("stub", stub=True)
            scheduler.on_trial_add(None, trials[name])
        decided: str = scheduler.on_trial_result(None, trials[name], {STEP: step, SCORE: score})
        return decided

    return told


@pytest.mark.ray
def test_trials_that_were_compared_before_count_at_their_rungs() -> None:
    """Whether they went on or were stopped there, and nowhere else."""
    before = {"done": [(3, 0.5), (6, 0.9)], "stopped": [(3, 0.1)], "measured late": [(9, 0.7)]}
    told = deciding(before)
    assert told("median", 3, 0.3) == GO, "of 0.5 and 0.1 the upper half begins at 0.3"
    assert told("below", 3, 0.29) == STOP
    assert told("median", 6, 0.79) == STOP, "of 0.9 and 0.7 it begins at 0.8"
    assert told("alone", 12, 0.0) == GO, "nobody has come to the rung of 12"


@pytest.mark.ray
@given(
    st.lists(
        st.lists(st.floats(0, 1), min_size=1, max_size=8),  # of a trial, at steps 2, 4, 6...
        min_size=1,
        max_size=8,
    ),
    st.data(),
)
def test_rounds_decide_as_one_run_would(curves: list[list[float]], data: st.DataObject) -> None:
    """Trials one after the other, in a scheduler for all or in a new one after some of them."""
    cut = data.draw(st.integers(0, len(curves)))

    def decided(told: Callable[[str, int, float], str], numbers: range) -> RungScores:
        heard: dict[str, list[tuple[int, float]]] = {}
        for number in numbers:
            for step, score in enumerate(curves[number], start=1):
                heard.setdefault(str(number), []).append((2 * step, score))
                if told(str(number), 2 * step, score) == STOP:
                    break
        return heard

    whole = decided(deciding({}), range(len(curves)))
    first = decided(deciding({}), range(cut))
    second = decided(deciding(first), range(cut, len(curves)))
    assert {**first, **second} == whole
