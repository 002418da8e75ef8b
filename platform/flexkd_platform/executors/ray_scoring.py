"""The scoring pass on Ray Data: chunks are rows, and an actor pool maps them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import ray.data

from ..steps import ChunkDone, ChunkScorer, ScoringPass
from ..store import open_store
from .executor import StepError

MOST_BLOCKS = 512
"""Ray Data reports a block when all of it is done: one chunk a block while there are few."""


class _ScoringActor:
    """Holds the teacher and maps batches of chunk numbers."""

    def __init__(self, request: ScoringPass, uri: str) -> None:
        self._scorer = ChunkScorer(request, open_store(uri), worker=os.getpid())

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        done = [self._scorer(int(chunk)) for chunk in batch["chunk"]]
        return {
            "chunk": [entry.chunk for entry in done],
            "examples": [entry.examples for entry in done],
            "worker": [entry.worker for entry in done],
            "error": [entry.error for entry in done],
        }


def score_on_ray(
    request: ScoringPass,
    uri: str,
    missing: list[int],
    workers: int,
    gpus: float,
    on_chunk: Callable[[ChunkDone], None],
) -> None:
    """Run chunks on an actor pool. Rows come back in any order; their parts are in the store.

    A lost actor is replaced and its chunks are run again, which gives the same parts.

    Raises:
        StepError: the teacher gave something that is not finite; names the example.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    workers = min(workers, len(missing))
    dataset = ray.data.from_items(
        [{"chunk": chunk} for chunk in missing],
        override_num_blocks=min(len(missing), MOST_BLOCKS),
    ).map_batches(
        _ScoringActor,
        fn_constructor_args=(request, uri),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers, initial_size=workers),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for row in dataset.iter_rows():
        done = ChunkDone(
            int(row["chunk"]), int(row["examples"]), int(row["worker"]), str(row["error"])
        )
        if done.error:
            raise StepError(done.error)
        on_chunk(done)
