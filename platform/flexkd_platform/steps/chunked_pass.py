"""Passes over the training examples in chunks that are distributed to any number of workers.

Chunks are determined by the spec, not by the workers. A few consecutive chunks form one partial
artifact in the store, so that an interrupted pass resumes. The function of each step creates its
artifact from them, in the order of the chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ..plan import ChunkedConfig, DatasetConfig, Draw, Step, TeacherConfig
from ..store import Store
from .chunk_layout import Layout, layout_of
from .context import RunContext
from .run import execute

CHUNK_THREADS = 1
"""Torch threads of a worker, the same everywhere: they affect the last bits of the results."""


@dataclass(frozen=True)
class ChunkDone:
    """A few chunks whose partial artifact is in the store.

    chunk: the first of them, which identifies the partial artifact.
    error: why it is not in the store, with the example that failed; "" if it is.
    """

    chunk: int
    examples: int
    worker: int
    error: str = ""


class ChunkedPass(ABC):
    """One pass of a teacher over training examples, and the steps that it publishes."""

    suffix: ClassVar[str] = "safetensors"

    def layout(self, store: Store) -> Layout:
        """The chunks of the data set, which must already be published."""
        return layout_of(self.steps[0].config, store)

    @property
    @abstractmethod
    def steps(self) -> tuple[Step[ChunkedConfig], ...]:
        """The steps that the pass publishes; they share teacher, data set and chunks."""

    @abstractmethod
    def open(
        self, store: Store, worker: int = 0, *, spread: bool = False
    ) -> Callable[[int], ChunkDone]:
        """A function that runs the chunks of a partial artifact; it loads the teacher once.

        Each worker opens its own.

        spread: whether the teacher is spread over all devices of the worker.
        """

    @property
    def teacher(self) -> Step[TeacherConfig]:
        """The teacher of the pass."""
        return self.steps[0].config.teacher

    @property
    def dataset(self) -> Step[DatasetConfig]:
        """The data set; the pass reads its training split."""
        return self.steps[0].config.dataset

    @property
    def draw(self) -> Draw | None:
        """The training examples that the pass reads; None for all."""
        return self.steps[0].config.draw

    @property
    def chunk(self) -> int:
        """Examples per chunk."""
        return self.steps[0].config.chunk

    def missing(self, store: Store) -> list[int]:
        """The missing partial artifacts of all unpublished steps, in order."""
        layout = self.layout(store)
        missing: set[int] = set()
        for step in self.steps:
            if not store.has(step):
                done = store.intact_parts(step)
                names = {part: layout.name(part, self.suffix) for part in layout.parts}
                missing |= {part for part, name in names.items() if name not in done}
        return sorted(missing)

    def publish(self, store: Store) -> None:
        """Publish the steps of a finished pass; another job may publish them first.

        Raises:
            RuntimeError: chunks are missing, and no other job has published the steps.
        """
        try:
            if missing := self.missing(store):
                # An incomplete sum must never be published.
                raise RuntimeError(f"chunks {missing} of the pass are not done")
            for step in self.steps:
                if not store.has(step):
                    list(execute(step, store, RunContext.alone(CHUNK_THREADS)))
        except (RuntimeError, AssertionError, OSError):
            # Another job that publishes deletes the parts, possibly while we read them.
            if not all(store.has(step) for step in self.steps):
                raise
        for step in self.steps:
            store.drop_parts(step)
