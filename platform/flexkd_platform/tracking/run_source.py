"""What the local index asks a tracking store for: the runs that changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .backend import Run


class UnreadableStoreError(Exception):
    """A tracking store cannot be read; the message says why, without passwords."""


@dataclass(frozen=True)
class Changes:
    """What differs in some experiments from what the index knows.

    changed: new and changed runs of flexkd, with their signatures.
    gone: ids of runs that were deleted.
    """

    changed: Sequence[tuple[Run, str]]
    gone: Iterable[str]


class RunSource(ABC):
    """A tracking store that is read, never written."""

    @abstractmethod
    def mark(self) -> str:
        """A text that changes whenever anything in the store does; "" if that cannot be told."""

    @abstractmethod
    def experiments(self) -> dict[str, str]:
        """Name → id of every experiment that is not deleted."""

    @abstractmethod
    def changes(
        self, experiments: Sequence[str], known: Mapping[str, str], since: int | None
    ) -> Changes:
        """The runs that changed, at least.

        Args:
            experiments: ids of experiments.
            known: run id → signature of the runs that the index has of these experiments.
            since: milliseconds since 1970; for a store without signatures, changes before it were
                read already. None: read all.
        """
