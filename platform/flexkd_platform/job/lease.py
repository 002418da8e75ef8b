"""One process at a time has a job in a storage without locks, as object stores are.

Whoever has the job leaves a note there and writes it anew every few seconds: a note that stays as
it is was left by a process that is gone. What is compared is notes, never the clocks of machines.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress

from ..store import Store

BEAT_SECONDS = 10.0
"""Between two notes of whoever has the job."""

DEAD_SECONDS = 60.0
"""After which a note that has not changed is nobody's any more."""

LOOK_SECONDS = 1.0
"""Between two looks at somebody else's note."""

SETTLE_SECONDS = 2.0
"""Between a first note and a look at it: of two that begin at one instant, the later one stays."""


class Lease:
    """A claim to the file at `path` of a storage, held from `take` to `give_back`."""

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._name = uuid.uuid4().hex
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lease {path}", daemon=True)

    def take(self, waiting: Callable[[], None]) -> bool:
        """Whether nobody else has it. Of somebody's note it takes up to a minute to tell.

        waiting: called once where there is such a note.
        """
        if not self._abandoned(waiting):
            return False
        self._write(0)
        time.sleep(SETTLE_SECONDS)
        if self._holder() != self._name:
            return False
        self._beating.start()
        return True

    def give_back(self) -> None:
        """Take the note away; a storage that cannot be reached now keeps an old one."""
        self._over.set()
        self._beating.join()
        with suppress(OSError):
            if self._holder() == self._name:
                self._store.drop_file(self._path)

    def _abandoned(self, waiting: Callable[[], None]) -> bool:
        note = self._read()
        if note is None:
            return True
        waiting()
        end = time.monotonic() + DEAD_SECONDS
        while time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            now = self._read()
            if now != note:
                return now is None
        return True

    def _beat(self) -> None:
        count = 0
        while not self._over.wait(BEAT_SECONDS):
            count += 1
            with suppress(OSError):  # the next one may get through
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
