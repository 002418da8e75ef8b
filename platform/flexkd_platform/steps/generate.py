"""Publishes the files with responses that a generation pass has written."""

from __future__ import annotations

from collections.abc import Iterator

from ..artifacts import Artifacts
from ..plan import GenerateConfig
from ..tracking import Progress
from .chunk_layout import publish_chunks
from .context import Output, RunContext


def run(
    config: GenerateConfig, inputs: Artifacts, out: Output, context: RunContext
) -> Iterator[Progress]:
    """Publish the chunks that a `GenerationPass` has written."""
    publish_chunks(config, inputs, out)
    return iter(())
