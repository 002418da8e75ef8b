"""A trial of several workers, of which some are lost, goes on from its checkpoint; and is ended."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.artifacts import read_log
from flexkd_platform.executors import StepError
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.plan import Trial
from flexkd_platform.spec import Elastic, JobSpec, Resources
from flexkd_platform.store import Store, open_store
from flexkd_platform.tracking import Progress

from ..tiny_jobs import Heard, PlanOf, SpecOf, StoreWith, run_trials

ray_train = pytest.importorskip("flexkd_platform.executors.ray_train")
ray_runs = pytest.importorskip("flexkd_platform.executors.train_supervisor")

STEPS, EVERY = 15, 3
KILLED = {5: 0, 11: 1}
"""The rank that is killed once after a step, and the step."""

ELASTIC = Resources(trial_workers=Elastic(min=1, max=2), checkpoint_steps=EVERY)

LATER = 4e-4
"""Relative, for losses of two workers beside those of one; see test_data_parallel.py."""

PATIENCE = 300.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""


@pytest.fixture
def epochs() -> int:
    """Of the trial: fifteen steps."""
    return 5


@pytest.fixture
def trial(spec_of: SpecOf, plan_of: PlanOf, epochs: int) -> Trial:
    """Epochs of three steps."""
    return trial_at(1e-3, spec_of, plan_of, epochs)


def trial_at(rate: float, spec_of: SpecOf, plan_of: PlanOf, epochs: int = 5) -> Trial:
    (trial,) = plan_of(spec_at(rate, spec_of, epochs)).trials
    return trial


def spec_at(rate: float, spec_of: SpecOf, epochs: int) -> JobSpec:
    return spec_of(
        distill={"epochs": epochs, "batch_size": 16, "learning_rate": rate},
        sweep={"methods": [{"kind": "ft"}], "seeds": [1]},
    )


@pytest.fixture
def store(spec_of: SpecOf, plan_of: PlanOf, store_with: StoreWith, epochs: int) -> Store:
    """Everything but the trial is there."""
    return store_with(plan_of(spec_at(1e-3, spec_of, epochs)))


@pytest.fixture
def killed() -> dict[int, int]:
    """The rank that is killed once after each of some steps."""
    return {}


@pytest.fixture
def watched(
    tmp_path: Path, killed: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A file in which workers write size, rank and number of each step; some of them die."""
    from ray import cloudpickle

    # Functions of this module reach workers, which cannot import it, by their code.
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    path = tmp_path / "steps"
    path.touch()
    monkeypatch.setattr(ray_train, "_fit", fit_with(mortal(str(path), killed)))
    yield path
    cloudpickle.unregister_pickle_by_value(module)


def fit_with(loop: Callable[..., None]) -> Callable[..., Any]:
    """The task that runs Ray Train, with another loop; it finds its own in its own process."""

    def run(*arguments: Any) -> Any:
        from flexkd_platform.executors import train_run

        train_run.loop = loop
        return train_run.fit(*arguments)

    return run


def mortal(path: str, killed: dict[int, int]) -> Callable[[dict[str, Any]], None]:
    """The loop of a worker that writes its steps down, and is killed once where it has to be."""

    def loop(config: dict[str, Any]) -> None:
        from flexkd_platform import steps
        from flexkd_platform.executors import progress_batches as bundles
        from flexkd_platform.executors import train_run

        real = steps.run_trial

        def dying(*arguments: Any) -> Iterator[Progress]:
            worker = arguments[3]
            for progress in real(*arguments):
                with open(path, "a") as stream:
                    stream.write(f"{worker.size} {worker.rank} {progress.done}\n")
                yield progress
                if killed.get(progress.done) == worker.rank:
                    try:
                        note = f"{path}-killed-{progress.done}"
                        os.close(os.open(note, os.O_CREAT | os.O_EXCL))
                    except FileExistsError:
                        continue
                    os.kill(os.getpid(), signal.SIGKILL)

        bundles.BUNDLE_SECONDS = 0.0  # each step is told at once
        steps.run_trial = dying
        try:
            train_run.loop(config)
        finally:
            steps.run_trial = real

    return loop


def steps_of(path: Path, rank: int = 0) -> list[int]:
    lines = [line.split() for line in path.read_text().splitlines()]
    return [int(done) for _, one, done in lines if int(one) == rank]


def wait_for(found: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


# --- with Ray ------------------------------------------------------------------------------------


@pytest.mark.ray
@pytest.mark.parametrize("killed", [KILLED])
def test_a_trial_resumes_from_its_checkpoint_whenever_a_worker_is_killed(
    ray_cluster: None, trial: Trial, store: Store, watched: Path
) -> None:
    """First the worker that reports the steps, then the other one."""
    shutil.copytree(store.root, f"{store.root}-straight")
    straight, heard = open_store(f"{store.root}-straight"), Heard()
    run_trials(InProcessExecutor(straight, Resources()), [trial], heard)
    assert heard.failures == {}

    scratch, runs = f"{store.uri}/ray/elastic", ray_runs.start_train_supervisor()
    bundles = list(ray_train.train_on_workers(trial, store.uri, ELASTIC, scratch, runs))
    reported = [progress.done for bundle in bundles for progress in bundle]
    expected: list[int] = []
    resumed_at = 0
    for killed_at in KILLED:
        # The other worker may be lost just before the first one has reported the step.
        place = len(expected) + killed_at - resumed_at - 1
        last = killed_at if reported[place] == killed_at else killed_at - 1
        expected += range(resumed_at + 1, last + 1)
        resumed_at = killed_at - killed_at % EVERY
        assert Path(f"{watched}-killed-{killed_at}").exists()
    assert reported == [*expected, *range(resumed_at + 1, STEPS + 1)]
    for rank in (0, 1):
        assert steps_of(watched, rank)[-1] == STEPS
        assert steps_of(watched, rank).count(1) == 1, "it does not begin again"
    assert store.has(trial.distill)
    assert store.has(trial.evaluate)
    assert store.parts(trial.distill) == set()
    ours, other = read_log(trial.distill, store), read_log(trial.distill, straight)
    assert [entry.step for entry in ours] == list(range(1, STEPS + 1))
    for one, two in zip(ours, other, strict=True):
        assert one.values == pytest.approx(two.values, rel=LATER, abs=LATER * 1e-2)


class Holding:
    """The process of a trial."""

    def begin(self, trial: Trial, uri: str, runs: Any) -> int:
        from flexkd_platform.executors import ray_train

        scratch = f"{uri}/ray/held"
        self._steps = ray_train.train_on_workers(trial, uri, ELASTIC, scratch, runs)
        return next(self._steps)[0].done

    def close(self) -> None:
        self._steps.close()


@pytest.mark.ray
@pytest.mark.parametrize("epochs", [10_000])  # it does not end by itself
@pytest.mark.parametrize("by_killing", [False, True])
def test_a_trial_that_ends_early_ends_its_workers_and_gives_everything_back(
    ray_cluster: str, trial: Trial, store: Store, watched: Path, by_killing: bool
) -> None:
    """Also one whose process is killed, as Tune does soon with those that it stops."""
    import ray
    from ray.util.state import list_actors, list_placement_groups

    runs = ray_runs.start_train_supervisor()
    ray.get(runs.ended.remote())
    before = {
        actor.actor_id for actor in list_actors(ray_cluster, filters=[("state", "!=", "DEAD")])
    }
    cpus = ray.cluster_resources()["CPU"]
    wait_for(lambda: ray.available_resources().get("CPU") == cpus)

    holding = ray.remote(num_cpus=0)(Holding).remote()
    assert ray.get(holding.begin.remote(trial, store.uri, runs)) == 1
    assert ray.available_resources().get("CPU", 0) < cpus, "workers have them"
    if by_killing:
        ray.kill(holding)
    else:
        ray.get(holding.close.remote())
    del holding

    def left() -> list[str]:
        alive = list_actors(ray_cluster, filters=[("state", "!=", "DEAD")])
        # One for the whole cluster, which Ray keeps from the first elastic run on.
        shared = "_AutoscalingCoordinatorActor"
        return [a.class_name for a in alive if a.actor_id not in before and a.class_name != shared]

    wait_for(lambda: left() == [])
    wait_for(lambda: ray.available_resources().get("CPU") == cpus)
    assert list_placement_groups(ray_cluster, filters=[("state", "=", "CREATED")]) == []
    assert not store.has(trial.distill)


@pytest.mark.ray
def test_what_a_trial_does_wrong_itself_is_not_tried_again(
    ray_cluster: None,
    spec_of: SpecOf,
    plan_of: PlanOf,
    store: Store,
    watched: Path,
) -> None:
    wrong = trial_at(1e30, spec_of, plan_of)
    with pytest.raises(StepError, match="the loss is ") as caught:
        list(
            ray_train.train_on_workers(
                wrong,
                store.uri,
                ELASTIC,
                f"{store.uri}/ray/wrong",
                ray_runs.start_train_supervisor(),
            )
        )
    assert "FloatingPointError" in caught.value.detail
    assert steps_of(watched).count(1) == 1
