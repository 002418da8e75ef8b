"""The scoring pass: runs chunks of training examples through the teacher, for scores and caches.

Each chunk results in one fp64 partial sum of importance per scored layer, and its rows of the
teacher caches. `score.py` adds up the partial sums, `cache.py` publishes the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..plan import CacheConfig, ChunkedConfig, ScoreConfig, Step
from ..store import Store
from .chunked_pass import ChunkDone, ChunkedPass


@dataclass(frozen=True)
class ScoringPass(ChunkedPass):
    """One pass of a teacher for score and cache steps.

    scores: each publishes G of a layer.
    caches: each publishes a layer's hidden states, or the outputs.
    """

    scores: tuple[Step[ScoreConfig], ...]
    caches: tuple[Step[CacheConfig], ...]

    @property
    def steps(self) -> tuple[Step[ChunkedConfig], ...]:
        """Scores, then caches."""
        return (*self.scores, *self.caches)

    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """Create a scorer of chunks."""
        from .chunk_scorer import ChunkScorer

        return ChunkScorer(self, store, worker, spread)
