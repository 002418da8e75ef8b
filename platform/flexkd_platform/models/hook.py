"""What hooks on a model's modules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Hook(ABC):
    """A context manager that takes its hook off the module at the end."""

    @abstractmethod
    def remove(self) -> None:
        """Take the hook off the module; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()
