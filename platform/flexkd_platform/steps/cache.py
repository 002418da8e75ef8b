"""Publishes a teacher cache: the rows that a teacher pass has written, file by file."""

from __future__ import annotations

from ..plan import CacheConfig, Step
from ..store import Store
from .chunk_layout import Layout


def publish_cache(step: Step[CacheConfig], store: Store, layout: Layout) -> None:
    """The partial artifacts become files of the cache, unchanged."""
    with store.publish(step) as draft:
        draft.parts = sorted(store.parts(step))
        draft.summary["chunks"] = layout.chunks
