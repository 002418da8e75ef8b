"""Steps run in this process with one thread, which is faster for tiny models."""

from __future__ import annotations

from ..lab import one_thread

__all__ = ["one_thread"]
