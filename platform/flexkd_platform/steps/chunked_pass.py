"""Work on the training examples in chunks that any number of workers share.

Chunks are fixed by the spec, not by the workers. A few of them in a row make one partial artifact
in the store, so that an interrupted pass resumes. The function of each step makes its artifact of
them, in the order of the chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..plan import ChunkedConfig, DatasetConfig, Step, TeacherConfig
from ..store import Store
from .chunk_layout import Layout, layout_of
from .context import RunContext
from .run import execute

CHUNK_THREADS = 1
"""Torch threads of a worker, the same everywhere: they decide the last bits of what it computes."""


@dataclass(frozen=True)
class ChunkDone:
    """A few chunks whose partial artifact is in the store.

    chunk: the first of them, which identifies the partial artifact.
    error: why it is not in the store, naming the example.
    """

    chunk: int
    examples: int
    worker: int
    error: str = ""


class ChunkedPass(ABC):
    """One pass of a teacher over training examples, and the steps that it publishes."""

    suffix: ClassVar[str] = "safetensors"

    def layout(self, store: Store) -> Layout:
        """The chunks of the data set, which must be published."""
        return layout_of(self.steps[0].config, store)

    @property
    @abstractmethod
    def steps(self) -> tuple[Step[ChunkedConfig], ...]:
        """The steps that the pass publishes; they share teacher, data set and chunks."""

    @abstractmethod
    def chunks_of(self, step: Step[ChunkedConfig], total: int) -> range:
        """The chunks that a step needs, of `total`."""

    @abstractmethod
    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """A function that runs the chunks of a partial artifact; it loads the teacher once.

        Every worker has one.

        spread: whether the teacher is spread over all devices of the worker.
        """

    @property
    def teacher(self) -> Step[TeacherConfig]:
        """The teacher that is run."""
        return self.steps[0].config.teacher

    @property
    def dataset(self) -> Step[DatasetConfig]:
        """The data set whose training split is read."""
        return self.steps[0].config.dataset

    @property
    def chunk(self) -> int:
        """Examples of a chunk."""
        return self.steps[0].config.chunk

    def missing(self, store: Store) -> list[int]:
        """The partial artifacts that a step still lacks, in order; a published one lacks none."""
        layout = self.layout(store)
        missing: set[int] = set()
        for step in self.steps:
            if not store.has(step):
                done = store.parts(step)
                wanted = layout.parts_of(self.chunks_of(step, layout.chunks))
                missing |= {part for part in wanted if layout.name(part, self.suffix) not in done}
        return sorted(missing)

    def publish(self, store: Store) -> None:
        """Publish the results of a finished pass; another job that shares it may be faster.

        Raises:
            RuntimeError: chunks are missing, and nobody else has published the steps.
        """
        try:
            if missing := self.missing(store):
                # A sum without them would be kept for good.
                raise RuntimeError(f"chunks {missing} of the pass are not done")
            for step in self.steps:
                if not store.has(step):
                    list(execute(step, store, RunContext.alone(CHUNK_THREADS)))
        except (RuntimeError, AssertionError, OSError):
            # Whoever publishes drops the parts, which may be while we are reading them.
            if not all(store.has(step) for step in self.steps):
                raise
        for step in self.steps:
            store.drop_parts(step)
