"""A pass over the training examples on Ray Data: parts are rows, and an actor pool maps them."""

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
"""Parts that an actor is sent: the one it works on and one to go on with, which a slow actor keeps
from the others. With one alone an actor waits after each for Ray Data's scheduling loop, which
looks every 0.1 s (0.2 s a part, measured)."""


class _ChunkActor:
    """Holds the teacher and maps batches of parts, which go by their first chunks."""

    def __init__(self, request: ChunkedPass, uri: str, spread: bool = False) -> None:
        self._request, self._uri, self._spread = request, uri, spread
        self._work: Callable[[int], ChunkDone] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [self._run(int(chunk)) for chunk in batch["chunk"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _run(self, chunk: int) -> dict[str, Any]:
        try:
            # Not in the constructor: what goes wrong there is tried again and loses its message.
            if self._work is None:
                store = open_store(self._uri)
                self._work = self._request.open(store, os.getpid(), spread=self._spread)
            return {**asdict(self._work(chunk)), "detail": ""}
        except Exception as error:  # told to the driver as the chunk's result
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
    """Run parts on an actor pool. Rows come back in any order; the parts are in the store.

    A lost actor is replaced and its part is run again, which gives the same bytes. Each part is a
    block of its own, of which there are never more than `MOST_PARTS`, and only a few numbers of
    each come here. An actor writes its part before it takes the next: a storage that is slow holds
    the actors back, and nothing piles up on the way.

    Args:
        missing: the parts, by their first chunks.
        workers: actors, one CPU each.
        gpus: of each actor; a part of one too.
        on_chunk: is told of each part, as it is done.
        spread: whether the teacher goes over all GPUs of an actor.

    Raises:
        StepError: a part could not be done; where the teacher gave something that is not finite,
            it names the example.
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
        # A pool of fixed size: one that may shrink does so in the moment between two parts.
        compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=IN_FLIGHT),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    # Nothing fetched ahead: what is fetched is told of only when more has come.
    for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for row in batch.to_pylist():
            detail = str(row.pop("detail"))
            done = ChunkDone(**row)
            if done.error:
                raise StepError(done.error, detail)
            on_chunk(done)
