"""A pass over the training examples on Ray Data: parts are rows, mapped by an actor pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import ray.data

from ..steps import ChunkDone, ChunkedPass
from ..store import open_store
from .work import StepError, failure_of

IN_FLIGHT = 2
"""Parts in flight per actor: the one that it runs and the next one, which a slow actor withholds
from the others. With only one, an actor waits after each part for Ray Data's scheduling loop, which
polls every 0.1 s (0.2 s per part, measured)."""


class _ChunkActor:
    """Holds the teacher and maps batches of parts; a part is identified by its first chunk."""

    def __init__(self, request: ChunkedPass, uri: str, spread: bool = False) -> None:
        self._request, self._uri, self._spread = request, uri, spread
        self._work: Callable[[int], ChunkDone] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [self._run(int(chunk)) for chunk in batch["chunk"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _run(self, chunk: int) -> dict[str, Any]:
        try:
            # Not in the constructor: Ray retries an error there, and its message is lost.
            if self._work is None:
                store = open_store(self._uri)
                self._work = self._request.open(store, os.getpid(), spread=self._spread)
            return {**asdict(self._work(chunk)), "detail": ""}
        except Exception as error:  # reported to the driver as the chunk's result
            failure = failure_of(error)
            done = ChunkDone(chunk, 0, os.getpid(), str(failure))
            return {**asdict(done), "detail": failure.detail}


def run_chunks_on_ray(
    request: ChunkedPass,
    uri: str,
    missing: list[int],
    workers: int,
    gpus: float,
    on_chunk: Callable[[ChunkDone], None],
    *,
    spread: bool = False,
) -> None:
    """Run parts on an actor pool. Actors write the parts to the store; rows return in any order.

    A lost actor is replaced and its part is run again, which gives the same bytes. Each part is a
    separate block, at most `MOST_PARTS` in total, and only a few numbers per part return to the
    driver. An actor writes its part before it starts the next one, so slow storage slows the
    actors down and nothing accumulates in memory.

    Args:
        missing: the parts, by their first chunks.
        workers: the number of actors, one CPU each.
        gpus: GPUs per actor; may be a fraction.
        on_chunk: called for each finished part.
        spread: whether the teacher is spread over all GPUs of an actor.

    Raises:
        StepError: a part failed; the message names the example if the teacher's output for it was
            not finite.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    workers = min(workers, len(missing))
    dataset = ray.data.from_items(
        [{"chunk": part} for part in missing], override_num_blocks=len(missing)
    ).map_batches(
        _ChunkActor,
        fn_constructor_args=(request, uri, spread),
        batch_size=1,
        # A pool of fixed size: an autoscaling one would shrink between two parts.
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    # No prefetching: a prefetched batch is only returned when the next one arrives.
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            detail = str(row.pop("detail"))
            done = ChunkDone(**row)
            if done.error:
                raise StepError(done.error, detail)
            on_chunk(done)
