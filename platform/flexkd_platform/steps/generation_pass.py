"""The generation pass: the teacher's responses to the training prompts, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..plan import ChunkedConfig, GenerateConfig, Step
from ..store import Store
from .chunked_pass import ChunkDone, ChunkedPass


@dataclass(frozen=True)
class GenerationPass(ChunkedPass):
    """One pass in which the teacher generates a response to every training prompt."""

    step: Step[GenerateConfig]
    suffix = "json"

    @property
    def steps(self) -> tuple[Step[ChunkedConfig], ...]:
        """The step."""
        return (self.step,)

    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """Create a writer of chunks."""
        from .chunk_writer import ChunkWriter

        return ChunkWriter(self, store, worker, spread)
