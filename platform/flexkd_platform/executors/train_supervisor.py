"""Who owns the Ray Train runs of a sweep: a process that outlives the trials they are part of.

What a process has started on Ray is killed with it, and Tune ends that of a trial that it stops at
once. A run needs longer to put its things away: Ray Train first stops what would give its CPUs back
for it, and then gives them back itself. Killed between the two, it would leave them reserved until
the job ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayActorError
from ray.util.queue import Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

LOOK_SECONDS = 1.0
"""How often a run is looked at, and who listens to it."""

END_SECONDS = 60.0
"""How long a run that is ended may take, before it is killed: a dozen seconds on a busy machine."""


def start_train_supervisor() -> Any:
    """A handle to a new owner of runs, on the driver's node, for `ray.kill` at the end."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Not to be started again: where memory is short, Ray kills what may be before all else.
    owner = ray.remote(num_cpus=0, scheduling_strategy=here)(_TrainSupervisor)
    return owner.remote()


class _TrainSupervisor:
    """An asynchronous actor."""

    def __init__(self) -> None:
        self._running = 0

    async def train(
        self, fit: Callable[..., Any], arguments: tuple[Any, ...], told: Queue[Any], node: str
    ) -> Any:
        """Run `fit(*arguments, told)` in a process of its own on a node; returns what it does.

        A process of its own, since nothing but a signal to that ends a run of Ray Train's. It gets
        one when the queue is gone, which ends with the trial.
        """
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(fit).options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        self._running += 1
        try:
            run = task.remote(*arguments, told)
            ended = asyncio.ensure_future(_outcome(run))
            while not (await asyncio.wait([ended], timeout=LOOK_SECONDS))[0]:
                if not await _is_heard(told):
                    await _end(run, ended)
                    return None
            return await ended
        finally:
            self._running -= 1

    async def ended(self) -> None:
        """Return when no run is left."""
        while self._running:
            await asyncio.sleep(LOOK_SECONDS / 10)


async def _outcome(run: Any) -> Any:
    return await run


async def _is_heard(told: Queue[Any]) -> bool:
    try:
        await told.actor.qsize.remote()
    except ActorDiedError:
        return False
    except RayActorError:  # it cannot be reached just now
        return True
    return True


async def _end(run: Any, ended: asyncio.Future[Any]) -> None:
    """As Ctrl-C would, which gives back what the run reserved."""
    ray.cancel(run)
    await asyncio.wait([ended], timeout=END_SECONDS)
    ray.cancel(run, force=True)
    await asyncio.wait([ended])
    ended.exception()  # it was ended: how is of no interest, and Python would complain
