"""A pass over the training examples on Ray Data: chunks are rows, and an actor pool maps them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import ray.data

from ..steps import ChunkDone, ChunkedPass
from ..store import open_store
from .executor import StepError
from .inprocess import failure_of

MOST_BLOCKS = 512
"""Ray Data reports a block when all of it is done: one chunk a block while there are few."""


class _ChunkActor:
    """Holds the teacher and maps batches of chunk numbers."""

    def __init__(self, request: ChunkedPass, uri: str) -> None:
        self._request, self._uri = request, uri
        self._work: Callable[[int], ChunkDone] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        rows = [self._run(int(chunk)) for chunk in batch["chunk"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _run(self, chunk: int) -> dict[str, Any]:
        try:
            # Not in the constructor: what goes wrong there is tried again and loses its message.
            if self._work is None:
                self._work = self._request.open(open_store(self._uri), os.getpid())
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
) -> None:
    """Run chunks on an actor pool. Rows come back in any order; their parts are in the store.

    A lost actor is replaced and its chunks are run again, which gives the same parts.

    Raises:
        StepError: a chunk could not be done; where the teacher gave something that is not finite,
            it names the example.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    workers = min(workers, len(missing))
    dataset = ray.data.from_items(
        [{"chunk": chunk} for chunk in missing],
        override_num_blocks=min(len(missing), MOST_BLOCKS),
    ).map_batches(
        _ChunkActor,
        fn_constructor_args=(request, uri),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for row in dataset.iter_rows():
        detail = str(row.pop("detail"))
        done = ChunkDone(**row)
        if done.error:
            raise StepError(done.error, detail)
        on_chunk(done)
