"""Work on the training examples in chunks that any number of workers share.

Chunks are fixed by the spec, not by the workers; a few of them leave one part in the store, so that
work that is cut off goes on where it was; what is made of the parts is made in the chunks' order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..plan import Step
from ..store import Store
from .chunk_layout import Layout
from .dataset import split_rows

CHUNK_THREADS = 1
"""Torch threads of a worker, the same everywhere: they decide the last bits of what it computes."""


@dataclass(frozen=True)
class ChunkDone:
    """A few chunks whose part is in the store. `error` says why it is not, naming the example.

    chunk: the first of them, by which the part goes.
    """

    chunk: int
    examples: int
    worker: int
    error: str = ""


class ChunkedPass(ABC):
    """One pass of a teacher over training examples, and the steps that it publishes."""

    suffix: ClassVar[str] = "safetensors"

    def layout(self, store: Store) -> Layout:
        """The chunks and parts of the data set, which must be there."""
        return Layout(split_rows(store.folder(self.dataset), "train"), self.chunk)

    @property
    @abstractmethod
    def steps(self) -> tuple[Step, ...]:
        """The steps that the pass publishes; they share teacher, data set and chunks."""

    @abstractmethod
    def chunks_of(self, step: Step, total: int) -> range:
        """The chunks that a step needs, of `total`."""

    @abstractmethod
    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """What runs the chunks of a part; it loads the teacher once. Every worker has one.

        spread: whether the teacher goes over all devices of the worker.
        """

    @abstractmethod
    def reduce(self, step: Step, store: Store) -> None:
        """Publish a step from all its parts."""

    @property
    def teacher(self) -> Step:
        """The teacher that is run."""
        return self.steps[0].needs["teacher"]

    @property
    def dataset(self) -> Step:
        """The data set whose training split is read."""
        return self.steps[0].needs["dataset"]

    @property
    def chunk(self) -> int:
        """Examples of a chunk."""
        return int(self.steps[0].identity["chunk"])

    def missing(self, store: Store) -> list[int]:
        """The parts that some step still lacks, in order; one that is published lacks none."""
        layout = self.layout(store)
        missing: set[int] = set()
        for step in self.steps:
            if not store.has(step):
                done = store.parts(step)
                wanted = layout.parts_of(self.chunks_of(step, layout.chunks))
                missing |= {part for part in wanted if layout.name(part, self.suffix) not in done}
        return sorted(missing)

    def publish(self, store: Store) -> None:
        """Publish what the finished pass yields; another job that shares it may be faster.

        Raises:
            RuntimeError: chunks are missing, and nobody else has published the steps.
        """
        try:
            if missing := self.missing(store):
                # A sum without them would be kept for good.
                raise RuntimeError(f"chunks {missing} of the pass are not done")
            for step in self.steps:
                if not store.has(step):
                    self.reduce(step, store)
        except (RuntimeError, AssertionError, OSError):
            # Whoever publishes drops the parts, which may be while we are reading them.
            if not all(store.has(step) for step in self.steps):
                raise
        for step in self.steps:
            store.drop_parts(step)
