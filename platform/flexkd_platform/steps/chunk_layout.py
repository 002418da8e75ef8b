"""The division of training rows into chunks, and of chunks into partial artifacts.

It depends on the data, never on the workers. A *part* here is one partial artifact in the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..artifacts import Artifacts, split_rows
from ..plan import ChunkedConfig
from .context import Output

MOST_PARTS = 1024
"""Parts of a pass at most: what its driver lists and dispatches does not grow with the rows."""


@dataclass(frozen=True)
class Layout:
    """The chunks of `rows` training rows, `chunk` rows each, and the parts that hold them.

    A part is a few chunks in a row, computed by one worker and written to one file; it is
    identified by the number of its first chunk. Up to `MOST_PARTS` chunks have a part each.
    """

    rows: int
    chunk: int

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.rows // self.chunk)

    @property
    def per_part(self) -> int:
        """Chunks of a part; the last one may have fewer."""
        return max(1, -(-self.chunks // MOST_PARTS))

    def part(self, first: int) -> range:
        """The chunks of the part whose first is `first`."""
        return range(first, min(first + self.per_part, self.chunks))

    def parts_of(self, chunks: range) -> range:
        """The parts that hold some chunks in a row."""
        size = self.per_part
        return range(chunks.start // size * size, chunks.stop, size) if chunks else range(0)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """The training rows of a chunk."""
        return chunk * self.chunk, min(self.rows, (chunk + 1) * self.chunk)

    def name(self, first: int, suffix: str) -> str:
        """File name of a part; names sort as the parts do."""
        part = self.part(first)
        # Both ends: as another number of chunks, the same file would be read without an error.
        ends = (first,) if self.per_part == 1 else (first, part[-1])
        return "-".join(["chunk", *(f"{chunk:08d}" for chunk in ends)]) + f".{suffix}"


def layout_of(config: ChunkedConfig, artifacts: Artifacts) -> Layout:
    """The chunks of a step's training examples; the data set must be published."""
    return Layout(split_rows(artifacts.folder(config.dataset), "train"), config.chunk)


def publish_chunks(config: ChunkedConfig, inputs: Artifacts, out: Output) -> None:
    """The partial artifacts become files of the artifact, unchanged."""
    with out.publish() as draft:
        draft.parts = sorted(out.store.parts(out.step))
        draft.summary["chunks"] = layout_of(config, inputs).chunks
