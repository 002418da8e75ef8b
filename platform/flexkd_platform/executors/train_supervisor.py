"""The supervisor of a sweep's Ray Train runs: a process that outlives the trials of the runs.

Ray kills what a process has started together with that process, and Tune kills the process of a
stopped trial immediately. A run needs longer to clean up: Ray Train first stops the process that
would release its CPUs for it, then releases them itself. If the run is killed in between, the CPUs
stay reserved until the job ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LOOK_SECONDS = 1.0
"""How often the supervisor checks a run and its trial's queue."""

END_SECONDS = 60.0
"""Time for a cancelled run to end before it is killed; it takes about 12 s on a busy machine."""


def start_train_supervisor() -> Any:
    """Start a supervisor on the driver's node; returns its handle, for `ray.kill` at the end."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Not restartable: when memory is short, Ray kills restartable actors first.
    owner = ray.remote(num_cpus=0, scheduling_strategy=here)(_TrainSupervisor)
    return owner.remote()


class _TrainSupervisor:
    """An async actor that owns the Ray Train runs."""

    def __init__(self) -> None:
        self._running = 0

    async def train(
        self, fit: Callable[..., Any], arguments: tuple[Any, ...], queue: Queue[Any], node: str
    ) -> Any:
        """Run `fit(*arguments, queue)` in a separate process on a node; returns its result.

        The process is separate since only a signal to it ends a Ray Train run. It is signalled when
        the queue is gone, which ends with the trial.
        """
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(fit).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        self._running += 1
        try:
            run = task.remote(*arguments, queue)
            ended = asyncio.ensure_future(_outcome(run))
            try:
                while not (await asyncio.wait([ended], timeout=LOOK_SECONDS))[0]:
                    if not await _is_heard(queue):
                        await _end(run, ended)
                        return None
            except BaseException:  # a run never outlives its supervision
                await _end(run, ended)
                raise
            return await ended
        finally:
            self._running -= 1

    async def ended(self) -> None:
        """Wait until no run is left."""
        while self._running:
            await asyncio.sleep(LOOK_SECONDS / 10)


async def _outcome(run: Any) -> Any:
    return await run


async def _is_heard(queue: Queue[Any]) -> bool:
    try:
        await queue.actor.qsize.remote()
    except ActorDiedError:
        return False
    except RayError:  # temporarily unreachable
        return True
    return True


async def _end(run: Any, ended: asyncio.Future[Any]) -> None:
    """End a run as Ctrl-C would, so that it releases its resources; kill it if that takes long."""
    ray.cancel(run)
    await asyncio.wait([ended], timeout=END_SECONDS)
    ray.cancel(run, force=True)
    await asyncio.wait([ended])
    ended.exception()  # retrieved and ignored; otherwise asyncio logs a warning
