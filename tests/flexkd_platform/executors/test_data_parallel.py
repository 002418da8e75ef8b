"""Two workers of half a batch each are one worker of the whole batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.executors import InProcessExecutor
from flexkd_platform.plan import Plan, Trial
from flexkd_platform.spec import Resources
from flexkd_platform.steps import read_log, run_trial
from flexkd_platform.store import Store, open_store

from .conftest import Heard, PlanOf, SpecOf, StoreWith, metrics_of, writing_json

pytestmark = pytest.mark.ray

METHODS: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "kd"},
    {"kind": "minillm"},
    {"kind": "jsd"},
    {"kind": "skew_fkl"},
    {"kind": "skew_rkl"},
    {"kind": "tvd", "top_k": 2},
    {"kind": "projector", "layers": "every"},
    {"kind": "cka", "layers": "every", "form": "kornblith"},
    {"kind": "flexkd", "target": "directions", "beta": 0.5},
    {"kind": "procrustes"},
    {"kind": "gram"},
    {"kind": "projector"},
    {"kind": "projector", "loss": "correlation"},
    {"kind": "cka"},
    {"kind": "flexkd", "loss": "correlation"},
    {"kind": "flexkd", "loss": "mse"},
    # The feature loss alone leaves the head without a gradient, on every worker.
    {"kind": "flexkd", "lambda": 0.0},
]

WRITING: list[dict[str, Any]] = [
    {"kind": "ft"},
    {"kind": "seqkd"},
    {"kind": "kd", "lambda": 0.5},
    {"kind": "minillm", "top_k": 20},
    {"kind": "minillm", "on_policy": {"teacher_mix": 0.5, "share": 0.5, "max_new_tokens": 4}},
    {"kind": "projector", "layers": "every", "beta": 1.0, "lambda": 1.0},
    {"kind": "cka", "layers": "every"},
    {"kind": "flexkd", "alpha": 0.05, "beta": 1.0, "lambda": 0.0, "logit": {"kind": "reverse_kl"}},
    {"kind": "flexkd", "lambda": 0.0},
]

MEASURED = 5e-4
"""Relative, for what students are measured at. A correlation does not change when a unit is shifted
or scaled, so those weights have a gradient of 0 but for rounding, and Adam makes steps of that."""

ROWS = {"odd last batch": 29, "last batch of one": 33}
"""Training rows, in batches of 16."""


@pytest.fixture
def by_value() -> Iterator[None]:
    """Functions of this module reach workers, which cannot import it, by their code."""
    from ray import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def test_losses_do_not_depend_on_the_number_of_workers(
    spec_of: SpecOf,
    plan_of: PlanOf,
    store_with: StoreWith,
    material: Path,
    ray_cluster: None,
    by_value: None,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """Every method, with the cached and the live teacher, in one Ray Train run of two workers."""
    plans = [_plan(spec_of, plan_of, material, rows) for rows in ROWS.values()]
    plans += [_writing_plan(spec_of, plan_of, task) for task in ("instruction", "summarization")]
    alone = [store_with(plan) for plan in plans]
    together = [store_with(plan) for plan in plans]
    for plan, store in zip(plans, alone, strict=True):
        listener = Heard()
        InProcessExecutor(store, Resources()).trials(plan.trials, listener)
        assert listener.failures == {}
    _train_on_two([(p.trials, s.uri) for p, s in zip(plans, together, strict=True)], tmp_path)
    worst: dict[str, float] = {}
    for plan, one, two in zip(plans, alone, together, strict=True):
        for trial in plan.trials:
            difference = _largest_difference(trial, one, two)
            name = f"{trial.method} {trial.distill.identity['method'].get('loss', '')}".strip()
            worst[name] = max(worst.get(name, 0.0), difference)
            assert metrics_of(trial, two) == pytest.approx(metrics_of(trial, one), rel=MEASURED)
    for name, difference in worst.items():
        record_property(name, difference)
        print(f"{name}: {difference:.1e}")
    assert max(worst.values()) < 1e-4


def _plan(spec_of: SpecOf, plan_of: PlanOf, material: Path, rows: int) -> Plan:
    data = {"source": "files", "path": str(material / "data"), "train": rows}
    return plan_of(
        spec_of(
            task={"kind": "classification", "data": data, "max_length": 16},
            distill={"epochs": 2, "batch_size": 16, "learning_rate": 1e-3},
            sweep={
                "methods": METHODS,
                "axes": {"distill.teacher_cache": ["auto", "off"]},
                "seeds": [1],
            },
        )
    )


def _writing_plan(spec_of: SpecOf, plan_of: PlanOf, task: str) -> Plan:
    """13 examples in batches of 6, the last of one: one of the two workers has no part of it."""
    axes = {"score.aggregation": ["global", "batch"]}
    sweep = {"methods": WRITING, "axes": axes, "seeds": [1]}
    return plan_of(spec_of(**writing_json(task) | {"sweep": sweep}))


def _largest_difference(trial: Trial, one: Store, two: Store) -> float:
    """The largest relative difference of any number of the training of any step."""
    logs = zip(read_log(trial.distill, one), read_log(trial.distill, two), strict=True)
    differences = []
    for first, second in logs:
        assert first.step == second.step
        assert first.values.keys() == second.values.keys()
        for name, value in first.values.items():
            if name.startswith("train/"):
                scale = max(abs(value), 1e-2)  # a feature loss of one row is 0
                differences.append(abs(second.values[name] - value) / scale)
            else:
                assert second.values[name] == pytest.approx(value, rel=MEASURED)
    return max(differences)


def _train_on_two(work: list[tuple[tuple[Trial, ...], str]], scratch: Path) -> None:
    import ray.train
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        _loop,
        train_loop_config={"work": work},
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(name="both", storage_path=str(scratch / "train")),
    ).fit()


def _loop(config: Mapping[str, Any]) -> None:
    from flexkd_platform.executors.ray_train import RayTrainWorker

    worker = RayTrainWorker()
    for trials, uri in config["work"]:
        store = open_store(uri)
        for trial in trials:
            for _ in run_trial(trial.distill, trial.evaluate, store, worker, Resources()):
                pass


def test_trials_of_two_workers_run_end_to_end(
    spec_of: SpecOf, plan_of: PlanOf, store_with: StoreWith, ray_cluster: None, heard: Heard
) -> None:
    """A nested Ray Train run that is done, and one that fails."""
    from flexkd_platform.executors.ray_executor import RayExecutor

    axes = {"distill.learning_rate": [1e-3, 1e30]}
    plan = plan_of(spec_of(sweep={"methods": [{"kind": "flexkd"}], "axes": axes, "seeds": [1]}))
    good, bad = plan.trials
    alone, store = store_with(plan), store_with(plan)
    InProcessExecutor(alone, Resources()).trials([good], Heard())
    executor = RayExecutor(store, Resources(trial_workers=2), "local")
    assert executor.concurrent_trials() == 1
    executor.trials(plan.trials, heard)
    assert [heard.of(trial) for trial in plan.trials] == [["started", "ended"]] * 2
    assert heard.steps(good) == list(range(1, 4))
    logged = [entry.values["train/loss"] for entry in read_log(good.distill, alone)]
    assert heard.losses(good) == pytest.approx(logged, rel=1e-4)
    assert metrics_of(good, store) == pytest.approx(metrics_of(good, alone))
    assert list(heard.failures) == [bad.hash]
    failure = heard.failures[bad.hash]
    assert str(failure).startswith("the loss is ")
    assert "\n" not in str(failure)
    assert "FloatingPointError" in failure.detail
    assert heard.steps(bad) == [1]
    assert store.list_folder("ray") == []
