"""The base class of hooks on a model's modules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Hook(ABC):
    """A context manager that removes its hook from the module on exit."""

    @abstractmethod
    def remove(self) -> None:
        """Remove the hook from the module; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()
