"""Preflight: everything that can be found wrong before a job starts."""

from .preflight import Preflight

__all__ = [
    "Preflight",
]
