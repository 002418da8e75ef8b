"""Publishes a teacher cache: the files with rows that a scoring pass has written."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts
from ..plan import CacheConfig
from ..tracking import Progress
from .chunk_layout import publish_chunks
from .context import Output, RunContext


def run(
    config: CacheConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish the chunks that a `ScoringPass` has written."""
    publish_chunks(config, inputs, out)
    return iter(())
