"""A run of Ray Train's ends in its own time, whatever becomes of the trial that it is part of."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.ray

PATIENCE = 300.0
"""Seconds after which something that has to happen is taken not to; nothing waits that long."""


@pytest.fixture(autouse=True)
def by_value(ray_cluster: None) -> Iterator[None]:
    """Functions of this module reach workers, which cannot import it, by their code."""
    from ray import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def runs() -> Any:
    from flexkd_platform.executors.train_supervisor import start_train_supervisor

    return start_train_supervisor()


@pytest.fixture
def told() -> Iterator[Any]:
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    yield queue
    queue.shutdown(force=True)


def here() -> str:
    import ray

    return str(ray.get_runtime_context().get_node_id())


def wait_for(found: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def answering(path: str, told: Any) -> str:
    told.put("a step")
    return f"at the end of {path}"


def endless(path: str, told: Any) -> None:
    """Until Ctrl-C, after which it has some things to put away.

    `path`.begun is there once it can be ended: whoever gets what it put may end the queue before
    the queue has answered it.
    """
    told.put("a step")
    try:
        Path(f"{path}.begun").touch()
        while True:
            time.sleep(0.05)
    finally:
        time.sleep(2.0)
        Path(path).write_text("put away")


def failing(path: str, told: Any) -> None:
    raise ValueError(path)


def test_what_a_run_returns_and_raises(runs: Any, told: Any) -> None:
    import ray

    assert ray.get(runs.train.remote(answering, ("it",), told, here())) == "at the end of it"
    assert told.get(timeout=PATIENCE) == "a step"
    with pytest.raises(ValueError, match="wrong"):
        ray.get(runs.train.remote(failing, ("wrong",), told, here()))
    ray.get(runs.ended.remote(), timeout=PATIENCE)


def test_a_run_that_nobody_listens_to_puts_its_things_away(
    runs: Any, told: Any, tmp_path: Path
) -> None:
    import ray

    run = runs.train.remote(endless, (str(tmp_path / "left"),), told, here())
    assert told.get(timeout=PATIENCE) == "a step"
    wait_for((tmp_path / "left.begun").exists)
    ended = runs.ended.remote()
    assert ray.wait([run, ended], timeout=0)[0] == []
    told.shutdown(force=True)
    ray.get(ended, timeout=PATIENCE)
    assert ray.get(run, timeout=PATIENCE) is None
    assert (tmp_path / "left").read_text() == "put away"


def test_a_run_outlives_the_process_of_its_trial(runs: Any, tmp_path: Path) -> None:
    """One that is killed, as Tune does with those that it stops and that take their time."""
    import ray

    class Trial:
        def begin(self, runs: Any, path: str, node: str) -> str:
            from ray.util.queue import Queue

            self._told = Queue(actor_options={"num_cpus": 0})
            self._run = runs.train.remote(endless, (path,), self._told, node)
            return str(self._told.get(timeout=PATIENCE))

    trial = ray.remote(num_cpus=0)(Trial).remote()
    begun = trial.begin.remote(runs, str(tmp_path / "left"), here())
    assert ray.get(begun, timeout=PATIENCE) == "a step"
    wait_for((tmp_path / "left.begun").exists)
    ray.kill(trial)
    wait_for((tmp_path / "left").exists)
    ray.get(runs.ended.remote(), timeout=PATIENCE)
    assert (tmp_path / "left").read_text() == "put away"
