"""Settings of a config by their key, which may be in a nested config."""

from __future__ import annotations

from typing import Any


def set_key(config: Any, key: str, value: Any) -> None:
    """Set a value of a config, or of a config or mapping in it."""
    first, _, rest = key.partition(".")
    if not rest:
        setattr(config, key, value)
        return
    inner = getattr(config, first)
    if isinstance(inner, dict):
        inner[rest] = value
    else:
        setattr(inner, rest, value)
