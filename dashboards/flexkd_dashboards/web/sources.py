"""What pages read: the trials of a tracking store and the jobs of a storage. Nothing is written."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from flexkd_platform.results import JobFiles, JobFolder
from flexkd_platform.spec import SpecError
from flexkd_platform.store import Store, StoreError, open_store
from flexkd_platform.tracking import (
    TrialRecord,
    UnreadableStoreError,
    check_tracking,
    read_trials,
    shown_uri,
)

NONE = "none"
"""The tracking URI without a store."""

FRESH_SECONDS = 5.0
"""How long trials that were read are shown before the tracking store is asked for changes."""


class UnavailableError(RuntimeError):
    """A storage or tracking store cannot be read now; the text says why, in a sentence."""


@dataclass(frozen=True)
class Trials:
    """The trials of all experiments.

    version: increases when something has changed.
    problem: why they could not be read again; "" if they are current.
    """

    records: Sequence[TrialRecord]
    version: int
    problem: str = ""


class Sources:
    """A storage and a tracking store, both read-only.

    Args:
        storage: folder or URI.
        tracking: absolute URI of a tracking store, or "none" for the jobs of the storage alone.
    """

    def __init__(self, storage: str, tracking: str) -> None:
        self.storage, self.tracking = storage, tracking
        self._lock = threading.Lock()
        self._known: Trials | None = None
        self._read_at = 0.0

    @property
    def has_tracking(self) -> bool:
        """Whether there is a tracking store."""
        return self.tracking != NONE

    def store(self) -> Store:
        """The storage.

        Raises:
            UnavailableError: it cannot be opened.
        """
        try:
            return open_store(self.storage)
        except (StoreError, OSError) as error:
            raise UnavailableError(f"The storage cannot be read: {error}.") from None

    def job_ids(self) -> list[str]:
        """The ids of the jobs in the storage.

        Raises:
            UnavailableError: it cannot be read.
        """
        try:
            return self.store().list_folder("jobs")
        except (StoreError, OSError) as error:
            raise UnavailableError(f"The storage cannot be read: {error}.") from None

    def folder(self, job_id: str) -> JobFolder:
        """The folder of a job in the storage, whether or not it has results."""
        return JobFolder(self.store(), job_id)

    def job(self, job_id: str) -> JobFiles:
        """The files of a job that has results.

        Raises:
            FileNotFoundError: it has none yet.
            SpecError: they are damaged.
        """
        return JobFiles(self.store(), job_id)

    def trials(self) -> Trials:
        """The trials that the tracking store has, at most `FRESH_SECONDS` old.

        If the store cannot be read, those that were read before, with the problem.

        Raises:
            UnavailableError: it cannot be read, and never could.
        """
        with self._lock:
            if self._known is None or time.monotonic() - self._read_at > FRESH_SECONDS:
                self._known = self._updated(self._known)
                self._read_at = time.monotonic()
            return self._known

    def _updated(self, known: Trials | None) -> Trials:
        try:
            records = self._read()
        except UnavailableError as error:
            if known is None:
                raise
            return Trials(known.records, known.version, str(error))
        if known is not None and known.records == records:
            return Trials(known.records, known.version)
        return Trials(records, 0 if known is None else known.version + 1)

    def _read(self) -> list[TrialRecord]:
        shown = shown_uri(self.tracking)
        if self.tracking.startswith(("http://", "https://")):
            # A server that is down would be asked again and again for minutes.
            for problem in check_tracking(self.tracking):
                raise UnavailableError(f"{problem.message}.")
        try:
            return read_trials(self.tracking)
        except SpecError:
            raise
        except UnreadableStoreError as error:
            raise UnavailableError(f"{shown} cannot be read: {error}.") from None
        except ValueError:
            return []  # nothing is recorded yet
        except Exception as error:  # each client library raises its own errors
            text = " ".join(str(error).split())
            raise UnavailableError(f"{shown} cannot be read: {text[:200]}") from None
