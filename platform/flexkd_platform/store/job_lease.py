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

from .store import Store

BEAT_SECONDS = 10.0
"""Between two notes of whoever has the job."""

DEAD_SECONDS = 120.0
"""After which a note that has not changed is nobody's any more. A put to a storage that does not
answer takes a minute and a half."""

LOOK_SECONDS = 1.0
"""Between two looks at somebody else's note."""

ALIVE = 2
"""Changes by which somebody is known to be there; one may be the last of a process that ends."""

SETTLE_SECONDS = 2.0
"""Between a first note and a look at it: of two that begin at one instant, the later one stays."""

LEAVE_SECONDS = 10.0
"""How long the end of a job may take to put its note away; one that stays grows old."""


class Lease:
    """A claim to the file at `path` of a storage, held from `take` to `give_back`.

    tell: told once where somebody's note is looked at, and if somebody has taken the claim over.
    """

    def __init__(self, store: Store, path: str, tell: Callable[[str], None]) -> None:
        self._store, self._path, self._tell = store, path, tell
        self._name = uuid.uuid4().hex
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, name=f"lease {path}", daemon=True)

    def take(self) -> bool:
        """Whether nobody else has it. Of somebody's note it can take two minutes to tell."""
        if not self._abandoned():
            return False
        try:
            self._write(0)
            time.sleep(SETTLE_SECONDS)
            if self._holder() != self._name:
                return False
            self._beating.start()
        except BaseException:  # interrupted: the next one would wait for us
            self._drop()
            raise
        return True

    def give_back(self) -> None:
        """Take the note away, if the storage answers soon."""
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
            "somebody has begun this job and not ended it; looking whether they are still at it, "
            f"for {DEAD_SECONDS:.0f} seconds at most"
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
            with suppress(OSError):  # the next one may get through
                if self._holder() not in {self._name, ""}:
                    self._tell("somebody took this process for dead and runs the same job")
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
