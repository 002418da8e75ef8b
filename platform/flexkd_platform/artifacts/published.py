"""The interface for reading published artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ..plan import Step


class Artifacts(Protocol):
    """Read access to published artifacts."""

    def folder(self, step: Step) -> Path:
        """A local folder with the files of a published step."""
        ...

    def file(self, step: Step, name: str) -> Path:
        """One file of a published step, on this disk."""
        ...
