"""Preflight: all checks that run before a job starts."""

from .preflight import Preflight

__all__ = [
    "Preflight",
]
