"""The job lease: one process at a time runs a job in a storage without locks (an object store).

The process that runs the job writes a file to the storage and rewrites it every few seconds
(heartbeat). An unchanged file was left by a dead process. Only the content of files is compared,
never the clocks of machines.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from .store import Store

BEAT_SECONDS = 10.0
"""Interval between two heartbeats."""

DEAD_SECONDS = 120.0
"""How long a file must be unchanged before its holder counts as dead. A put to a storage that does
not answer takes a minute and a half."""

LOOK_SECONDS = 1.0
"""Interval between two reads of another process's file."""

ALIVE = 2
"""Changes that prove that the holder is alive; a single one may be its last before it ends."""

SETTLE_SECONDS = 2.0
"""Pause between the first put and reading it back: of concurrent puts, the last one wins."""

LEAVE_SECONDS = 10.0
"""How long `give_back` waits for the storage; a file that is not deleted expires."""


class Lease:
    """A lease on the file at `path` of a storage, held from `take` to `give_back`.

    tell: receives a message before waiting for another holder, and if the lease was taken over.
    """

    def __init__(self, store: Store, path: str, tell: Callable[[str], None]) -> None:
        self._store, self._path, self._tell = store, path, tell
        self._name = uuid.uuid4().hex
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lease {path}", daemon=True)

    def take(self) -> bool:
        """Acquire the lease; False if another process holds it. May wait for two minutes."""
        if not self._abandoned():
            return False
        try:
            self._write(0)
            time.sleep(SETTLE_SECONDS)
            if self._holder() != self._name:
                return False
            self._beating.start()
        except BaseException:  # interrupted: otherwise the next process would wait for us
            self._drop()
            raise
        return True

    def give_back(self) -> None:
        """Release the lease, if the storage answers within `LEAVE_SECONDS`."""
        self._over.set()
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(LEAVE_SECONDS)

    def _leave(self) -> None:
        self._beating.join()
        self._drop()

    def _drop(self) -> None:
        with suppress(OSError):
            if self._holder() == self._name:
                self._store.drop_file(self._path)

    def _abandoned(self) -> bool:
        note, changes = self._read(), 0
        if note is None:
            return True
        self._tell(
            f"another process may be running this job; checking for up to {DEAD_SECONDS:.0f} s"
        )
        end = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = self._read()
            if now is None:
                return True
            if now != note:
                note, changes, end = now, changes + 1, time.monotonic() + DEAD_SECONDS
            if changes == ALIVE:
                return False
        return True

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError):  # the next heartbeat may succeed
                if self._holder() not in {self._name, ""}:
                    self._tell("another process took over this job's lease and runs the same job")
                    return
                self._write(count)

    def _holder(self) -> str:
        return (self._read() or "").partition(" ")[0]

    def _read(self) -> str | None:
        try:
            return self._store.read_file(self._path).decode()
        except FileNotFoundError:
            return None

    def _write(self, count: int) -> None:
        self._store.write_file(self._path, f"{self._name} {count}\n".encode())
