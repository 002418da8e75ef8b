"""Work on the training examples in chunks that any number of workers share.

Chunks are fixed by the spec, not by the workers. A few of them in a row make one partial artifact
in the store, so that an interrupted pass resumes; what is made of the partial artifacts is made in
the order of the chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from ..plan import ChunkedConfig, DatasetConfig, Step, TeacherConfig
from ..store import Store
from ..training import Progress
from .artifacts import split_rows
from .chunk_layout import Layout
from .context import RunContext

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
        return Layout(split_rows(store.folder(self.dataset), "train"), self.chunk)

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

    @abstractmethod
    def reduce(self, step: Step[ChunkedConfig], store: Store) -> None:
        """Publish a step from all its partial artifacts."""

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
                    self.reduce(step, store)
        except (RuntimeError, AssertionError, OSError):
            # Whoever publishes drops the parts, which may be while we are reading them.
            if not all(store.has(step) for step in self.steps):
                raise
        for step in self.steps:
            store.drop_parts(step)


def run_pass(request: ChunkedPass, store: Store, context: RunContext) -> Iterator[Progress]:
    """Run what is missing of a pass in this process, and publish its steps.

    Raises:
        ValueError: a chunk cannot be used; names the example.
    """
    missing = request.missing(store)
    work = request.open(store, spread=context.spread_teacher) if missing else None
    for count, first in enumerate(missing, start=1):
        assert work is not None
        done = work(first)
        if done.error:
            raise ValueError(done.error)
        yield Progress(count, len(missing), done.examples)
    request.publish(store)
