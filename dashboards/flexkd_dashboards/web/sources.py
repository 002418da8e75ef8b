"""What pages read: the trials of a tracking store and the jobs of a storage. Nothing is written."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from flexkd_platform.results import JobFiles, JobFolder, JobOverview, job_overview
from flexkd_platform.spec import SpecError
from flexkd_platform.store import Holder, LiveHolders, Store, StoreError, open_store
from flexkd_platform.tracking import (
    Recorded,
    TrialRecord,
    UnreadableStoreError,
    check_tracking,
    read_recorded,
    shown_uri,
)

NONE = "none"
"""The tracking URI without a store."""

FRESH_SECONDS = 5.0
"""How long trials that were read are shown before the tracking store is asked for changes."""


RETRY_SECONDS = 15.0
"""How long a store that could not be read is left alone: a server that hangs is waited for."""

ENDED_SECONDS = 30.0
"""How long the state of a job that has ended is kept: it may be run again."""

EARLIEST = datetime.min.replace(tzinfo=UTC)

KEPT_VIEWS = 16
"""How many results of `remembered` are kept."""

Made = TypeVar("Made")


class UnavailableError(RuntimeError):
    """A storage or tracking store cannot be read now; the text says why, in a sentence."""


@dataclass(frozen=True)
class Trials:
    """The trials of all experiments.

    job_ids: hash → id of the jobs that are recorded.
    version: increases when something has changed.
    problem: why they could not be read again; "" if they are current.
    """

    records: Sequence[TrialRecord]
    job_ids: Mapping[str, str]
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
        self._lock, self._making = threading.Lock(), threading.Lock()
        self._known: Trials | None = None
        self._failure: UnavailableError | None = None
        self._read_at: float | None = None
        self._store: Store | None = None
        self._leases: LiveHolders | None = None
        self._ended: dict[str, tuple[JobOverview, float]] = {}
        self._made: OrderedDict[Hashable, Any] = OrderedDict()

    @property
    def has_tracking(self) -> bool:
        """Whether there is a tracking store."""
        return self.tracking != NONE

    def store(self) -> Store:
        """The storage.

        Raises:
            UnavailableError: it cannot be opened.
        """
        if self._store is None:
            with _reading_storage():
                self._store = open_store(self.storage)
        return self._store

    def job_ids(self) -> list[str]:
        """The ids of the jobs in the storage.

        Raises:
            UnavailableError: it cannot be read.
        """
        with _reading_storage():
            return self.store().list_folder("jobs")

    def job(self, job_id: str) -> JobFiles:
        """The files of a job that has results.

        Raises:
            FileNotFoundError: it has none yet.
            SpecError: they are damaged.
            UnavailableError: the storage cannot be read.
        """
        with _reading_storage():
            return JobFiles(self.store(), job_id)

    def report(self, job_id: str) -> str:
        """The HTML report of a job.

        Raises:
            FileNotFoundError: there is no such job, or it has none yet.
            UnavailableError: the storage cannot be read.
        """
        with _reading_storage():
            return self._folder(job_id).read("report/index.html")

    def has_report(self, job_id: str) -> bool:
        """Whether a job has an HTML report.

        Raises:
            UnavailableError: the storage cannot be read.
        """
        with _reading_storage():
            return "index.html" in self.store().list_folder(f"jobs/{job_id}/report")

    def _folder(self, job_id: str) -> JobFolder:
        if job_id not in self.job_ids():  # and not a path out of the folder of jobs
            raise FileNotFoundError(job_id)
        return JobFolder(self.store(), job_id)

    def overviews(self) -> list[JobOverview]:
        """All jobs: running ones first, then by their last event, the newest first.

        Raises:
            UnavailableError: the storage cannot be read.
        """
        found = [self.overview(job_id) for job_id in self.job_ids()]
        found.sort(key=lambda job: job.changed or EARLIEST, reverse=True)
        return sorted(found, key=lambda job: job.status not in {"running", "waiting"})

    def overview(self, job_id: str) -> JobOverview:
        """The state of a job. One that has ended is read again after `ENDED_SECONDS`.

        Raises:
            UnavailableError: the storage cannot be read.
        """
        known = self._ended.get(job_id)
        if known is not None and time.monotonic() - known[1] < ENDED_SECONDS:
            return known[0]
        with _reading_storage():
            folder = JobFolder(self.store(), job_id)
            found = job_overview(folder, self._holders(), datetime.now(UTC))
        if found.status in {"done", "failed", "interrupted"}:
            self._ended[job_id] = found, time.monotonic()
        return found

    def _holders(self) -> Mapping[str, Holder]:
        if self._leases is None:
            self._leases = LiveHolders(self.store())
        return self._leases.read()

    def trials(self) -> Trials:
        """The trials that the tracking store has, at most `FRESH_SECONDS` old.

        If the store cannot be read, those that were read before, with the problem.

        Raises:
            UnavailableError: it cannot be read, and never could.
        """
        with self._lock:
            patience = FRESH_SECONDS if self._failure is None else RETRY_SECONDS
            if self._read_at is None or time.monotonic() - self._read_at > patience:
                self._update()
                self._read_at = time.monotonic()
            if self._known is None:
                raise UnavailableError(str(self._failure))
            return replace(self._known, problem=str(self._failure or ""))

    def remembered(self, trials: Trials, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` returns, made once for these trials and this key.

        A view that is exported or paged needs the same groups again.
        """
        whole = trials.version, key
        with self._making:  # two requests for one view would both make it
            if whole not in self._made:
                self._made[whole] = make()
            self._made.move_to_end(whole)
            while len(self._made) > KEPT_VIEWS:
                self._made.popitem(last=False)
            return cast(Made, self._made[whole])

    def _update(self) -> None:
        known = self._known
        try:
            found = self._read()
        except UnavailableError as error:
            self._failure = error
            return
        self._failure = None
        if known is not None and _same(known.records, found.trials):
            self._known = replace(known, job_ids=found.job_ids)
        else:
            version = 0 if known is None else known.version + 1
            self._known = Trials(found.trials, found.job_ids, version)

    def _read(self) -> Recorded:
        shown = shown_uri(self.tracking)
        if self.tracking.startswith(("http://", "https://")):
            # A server that is down would be asked again and again for minutes.
            for problem in check_tracking(self.tracking):
                raise UnavailableError(f"{problem.message}.")
        try:
            return read_recorded(self.tracking)
        except SpecError:
            raise
        except UnreadableStoreError as error:
            raise UnavailableError(f"{shown} cannot be read: {error}.") from None
        except ValueError:
            return Recorded([], {})  # nothing is recorded yet
        except Exception as error:  # each client library raises its own errors
            text = " ".join(str(error).split())
            raise UnavailableError(f"{shown} cannot be read: {text[:200]}") from None


@contextmanager
def _reading_storage() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (StoreError, OSError) as error:
        raise UnavailableError(f"The storage cannot be read: {error}.") from None


def _same(known: Sequence[TrialRecord], found: Sequence[TrialRecord]) -> bool:
    """Whether nothing has changed, not even who uses a trial, which its equality leaves out."""
    return len(known) == len(found) and all(map(_equal, known, found))


def _equal(one: TrialRecord, other: TrialRecord) -> bool:
    return one == other and (one.users, one.jobs, one.experiment, one.tags) == (
        other.users,
        other.jobs,
        other.experiment,
        other.tags,
    )
