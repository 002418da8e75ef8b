"""A job's folder, `<storage>/jobs/<id>/`: spec, plan, ledger, results, report."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from ..spec import Problem, SpecError
from ..store import Store
from ..store.job_lease import Lease
from ..store.ledger import Ledger


class JobFolder:
    """Reads and writes the files of a job."""

    def __init__(self, store: Store, job_id: str) -> None:
        self.store = store
        self.id = job_id
        self.path = f"jobs/{job_id}"
        self._ledger = Ledger(store, f"{self.path}/ledger.jsonl")

    @property
    def location(self) -> str:
        """The location of the folder for display: a path or a URI."""
        return self.store.uri_of(self.path)

    def place(self, name: str) -> str:
        """The location of a file of the job for display: a path or a URI."""
        return self.store.uri_of(f"{self.path}/{name}")

    def local(self, name: str) -> Path | None:
        """The path of a file if the storage is a local disk, else None."""
        return Path(self.store.root) / self.path / name if self.store.is_local else None

    def write(self, name: str, content: str) -> None:
        """Write one of the job's files, replacing it atomically."""
        self.store.write_file(f"{self.path}/{name}", content.encode())

    def write_json(self, name: str, value: Any) -> None:
        """Write a value as indented, readable JSON."""
        self.write(name, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def read(self, name: str) -> str:
        """The content of one of the job's files.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return self.store.read_file(f"{self.path}/{name}").decode()

    def record(self, event: str, *, later: bool = False, **what: Any) -> None:
        """Append an event with its time to `ledger.jsonl`. It survives a killed process.

        later: whether the write may be deferred to the next line, since the event is reproducible.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **what}, ensure_ascii=False)
        self._ledger.append(line, later=later)

    def ledger(self) -> list[Mapping[str, Any]]:
        """All recorded events, oldest first; a line truncated by a crash is left out."""
        return _events(self._ledger.read())

    @contextmanager
    def locked(self, tell: Callable[[str], None]) -> Iterator[list[Mapping[str, Any]]]:
        """Lock the job, and yield its existing ledger events. Only one process may run a job.

        On a local disk, the lock is released when the process ends for any reason. On an object
        store, it can take two minutes to detect a dead process; `tell` receives a message then.

        Raises:
            SpecError: another process holds the lock.
        """
        path = self.local(".lock")
        if path is None:
            lease = Lease(self.store, f"{self.path}/.lock", tell)
            held, release = lease.take(), lease.give_back
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            with suppress(filelock.Timeout):
                lock.acquire(timeout=0)
            held, release = lock.is_locked, lock.release
        if not held:
            remedy = "wait for it, or change its name or seeds to run another one"
            raise SpecError([Problem("", f"the job {self.id} is already running", remedy)])
        try:
            yield _events(self._ledger.open())
        finally:
            try:
                self._ledger.close()
            finally:
                release()


def _events(lines: list[str]) -> list[Mapping[str, Any]]:
    events: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            events.append(event)
    return events
