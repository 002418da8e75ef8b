"""Step leases: of all processes that share a storage, only one at a time runs a step.

A lease is a small file that names its holder, which rewrites it every few seconds (heartbeat). An
unchanged file was left by a dead process and is taken over. Only the content of files is compared,
never the clocks of machines. A lease avoids duplicate work. It does not protect artifacts, which
are published atomically in any case.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from .store import Store
from .transfer import replacing

BEAT_SECONDS = 10.0
"""Interval between two heartbeats."""

DEAD_SECONDS = 120.0
"""How long a file must be unchanged before its holder counts as dead. A put to a storage that does
not answer takes a minute and a half."""

SETTLE_SECONDS = 2.0
"""On an object store, the pause between a put and reading it back: of concurrent puts, the last one
wins."""

LEAVE_SECONDS = 10.0
"""How long `close` waits for the storage; a lease that is not released expires."""


@dataclass(frozen=True)
class Holder:
    """The holder of a lease, for display: user, host and process, and the job's id."""

    user: str
    host: str
    pid: int
    job: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host} (job {self.job}, pid {self.pid})"


UNKNOWN = Holder("unknown", "unknown", 0, "unknown")
"""The holder of a file that is incomplete."""


@dataclass(frozen=True)
class LeaseNote:
    """The content of a lease file.

    claim: a random name of this claim. machine, started: identify the holder's process exactly, so
    that its end is detected immediately on the same machine.
    """

    holder: Holder
    claim: str
    machine: str
    started: float
    beat: int = 0

    @classmethod
    def by(cls, holder: Holder) -> LeaseNote:
        """A new claim of this process."""
        return cls(holder, uuid.uuid4().hex, _machine(), psutil.Process().create_time())

    def to_bytes(self) -> bytes:
        """The content of a lease file."""
        fields = {**vars(self), "holder": vars(self.holder)}
        return (json.dumps(fields) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LeaseNote | None:
        """None if the content is invalid."""
        try:
            fields = json.loads(content)
            return cls(**{**fields, "holder": Holder(**fields["holder"])})
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def is_gone(self) -> bool:
        """Whether the holder's process has ended; False if it is on another machine."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            return abs(psutil.Process(self.holder.pid).create_time() - self.started) > 1
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


class Leases:
    """The leases of one process, with one heartbeat thread. Thread-safe.

    warn: receives a message if another process takes a lease over.
    """

    def __init__(self, store: Store, holder: Holder, warn: Callable[[str], None]) -> None:
        self._store, self._holder, self._warn = store, holder, warn
        self._held: dict[str, LeaseNote] = {}
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._lost: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, path: str) -> Holder | None:
        """Acquire the lease at a path of the storage; None on success, else its holder.

        Never waits for another holder. Call it repeatedly to take over from a dead holder, which is
        detected after `DEAD_SECONDS` without a heartbeat, or immediately on the same machine.
        """
        note = LeaseNote.by(self._holder)
        found = self._take_on_disk(path, note) if self._store.is_local else self._put(path, note)
        if found is not None:
            return found
        with self._lock:
            self._held[path] = note
            self._lost.discard(path)
            self._seen.pop(path, None)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        return None

    def release(self, path: str) -> None:
        """Release a lease. A lost one is left to its new holder."""
        with self._lock:
            note = self._held.pop(path, None)
        if note is not None:
            with suppress(OSError):
                self._drop(path, note)

    @property
    def lost(self) -> set[str]:
        """The leases that another process took over, since our heartbeats did not arrive."""
        return set(self._lost)

    def close(self) -> None:
        """Release all leases, if the storage answers within `LEAVE_SECONDS`."""
        self._closed.set()
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(LEAVE_SECONDS)

    def _leave(self) -> None:
        if self._thread is not None:
            self._thread.join()
        for path in list(self._held):
            self.release(path)

    # --- taking --------------------------------------------------------------------------------

    def _take_on_disk(self, path: str, note: LeaseNote) -> Holder | None:
        """Create the file, which only one process can do, or take it over from a dead holder."""
        file = Path(self._store.root, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileExistsError:
                content = self._read(path)
                if content is None:
                    continue  # released just now
                if not self._is_dead(path, content):
                    return _holder_of(content)
                return self._take_over(path, content, note)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(note.to_bytes())
            return None

    def _take_over(self, path: str, dead: bytes, note: LeaseNote) -> Holder | None:
        """Replace a dead holder's file. A second lease ensures that only one process does so."""
        found = LeaseNote.from_bytes(dead)
        marker = f"{path}.takeover-{found.claim if found else 'unknown'}"
        own = LeaseNote.by(self._holder)
        if (holder := self._take_on_disk(marker, own)) is not None:
            return holder
        try:
            content = self._read(path)
            if content != dead:
                return UNKNOWN if content is None else _holder_of(content)
            self._write(path, note)
            return None
        finally:
            self._drop(marker, own)

    def _put(self, path: str, note: LeaseNote) -> Holder | None:
        """On an object store: put, wait, and check whether the lease is still ours."""
        content = self._read(path)
        if content is not None and not self._is_dead(path, content):
            return _holder_of(content)
        try:
            self._write(path, note)
            time.sleep(SETTLE_SECONDS)
            content = self._read(path)
        except BaseException:  # interrupted: otherwise the next process would wait for us
            with suppress(OSError):
                self._drop(path, note)
            raise
        if content is None:
            return UNKNOWN
        return None if _claim_of(content) == note.claim else _holder_of(content)

    def _is_dead(self, path: str, content: bytes) -> bool:
        note = LeaseNote.from_bytes(content)
        if note is not None and note.is_gone:
            return True
        now = time.monotonic()
        with self._lock:
            before, since = self._seen.get(path, (None, now))
            if before != content:
                self._seen[path] = (content, now)
                return False
        return now - since >= DEAD_SECONDS

    # --- holding -------------------------------------------------------------------------------

    def _beat(self) -> None:
        count = 0
        while not self._closed.wait(BEAT_SECONDS):
            count += 1
            with self._lock:
                held = dict(self._held)
            for path, note in held.items():
                with suppress(OSError):  # the next heartbeat may succeed
                    self._renew(path, replace(note, beat=count))

    def _renew(self, path: str, note: LeaseNote) -> None:
        content = self._read(path)
        if content is not None and _claim_of(content) not in {note.claim, ""}:
            with self._lock:
                if self._held.pop(path, None) is not None:
                    self._lost.add(path)
            self._warn(f"{_holder_of(content)} took over {path}: our heartbeats did not arrive")
            return
        with self._lock:
            if path in self._held:
                self._write(path, note)

    def _read(self, path: str) -> bytes | None:
        try:
            return self._store.read_file(path)
        except FileNotFoundError:
            return None

    def _write(self, path: str, note: LeaseNote) -> None:
        if not self._store.is_local:
            self._store.write_file(path, note.to_bytes())
            return
        with replacing(Path(self._store.root, path)) as aside:
            aside.write_bytes(note.to_bytes())

    def _drop(self, path: str, note: LeaseNote) -> None:
        content = self._read(path)
        if content is not None and _claim_of(content) == note.claim:
            self._store.drop_file(path)


def _claim_of(content: bytes) -> str:
    note = LeaseNote.from_bytes(content)
    return "" if note is None else note.claim


def _holder_of(content: bytes) -> Holder:
    note = LeaseNote.from_bytes(content)
    return UNKNOWN if note is None else note.holder


def _machine() -> str:
    """The boot id of this machine and the process namespace; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
