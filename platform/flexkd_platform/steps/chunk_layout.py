"""The division of the rows that are read into chunks, and of chunks into partial artifacts.

It depends on the data, never on the workers. A *part* is one partial artifact in the store.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..artifacts import Artifacts, split_rows
from ..plan import ChunkedConfig
from .context import Output

MOST_PARTS = 1024
"""Maximum number of parts of a pass: the driver's work does not grow with the number of rows."""


@dataclass(frozen=True)
class Layout:
    """The chunks of `rows` rows, `chunk` rows each, and the parts that contain them.

    The rows are those of the training split, or those that are drawn from it, in its order.

    A part is a few consecutive chunks, computed by one worker and written to one file. It is
    identified by the number of its first chunk. Up to `MOST_PARTS` chunks have a part each.
    """

    rows: int
    chunk: int

    @property
    def chunks(self) -> int:
        """The number of chunks."""
        return -(-self.rows // self.chunk)

    @property
    def per_part(self) -> int:
        """Chunks per part; the last part may have fewer."""
        return max(1, -(-self.chunks // MOST_PARTS))

    def part(self, first: int) -> range:
        """The chunks of the part that starts with chunk `first`."""
        return range(first, min(first + self.per_part, self.chunks))

    @property
    def parts(self) -> range:
        """Every part, by the number of its first chunk."""
        return range(0, self.chunks, self.per_part)

    def bounds(self, chunk: int) -> tuple[int, int]:
        """The rows of a chunk."""
        return chunk * self.chunk, min(self.rows, (chunk + 1) * self.chunk)

    def name(self, first: int, suffix: str) -> str:
        """File name of a part; names sort in the order of the parts."""
        part = self.part(first)
        # Both ends: otherwise a file with another number of chunks would be read without an error.
        ends = (first,) if self.per_part == 1 else (first, part[-1])
        return "-".join(["chunk", *(f"{chunk:08d}" for chunk in ends)]) + f".{suffix}"


def layout_of(config: ChunkedConfig, artifacts: Artifacts) -> Layout:
    """The chunks of a step's training examples; the data set must be published."""
    if config.draw is not None:
        return Layout(config.draw.samples, config.chunk)
    return Layout(split_rows(artifacts.folder(config.dataset), "train"), config.chunk)


def publish_chunks(config: ChunkedConfig, inputs: Artifacts, out: Output) -> None:
    """Publish the partial artifacts, unchanged, as files of the artifact."""
    with out.publish() as draft:
        draft.parts = sorted(out.store.intact_parts(out.step))
        draft.summary["chunks"] = layout_of(config, inputs).chunks
