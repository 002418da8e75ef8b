"""Who holds step leases now, for display: read-only, and without the clocks of machines."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from .step_leases import DEAD_SECONDS, Holder, LeaseNote
from .store import Store

LEASES = "leases"
"""The folder of lease files in a storage."""


class LiveHolders:
    """Reads the leases of a storage. A holder is dead as `Leases` sees it: its process has ended,
    or its file has not changed for `DEAD_SECONDS` while this object has read it. Thread-safe.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def read(self) -> dict[str, Holder]:
        """`kind-hash` of each leased step → its holder.

        Raises:
            OSError: the storage cannot be read.
        """
        found: dict[str, Holder] = {}
        for name in self._store.list_folder(LEASES):
            with suppress(FileNotFoundError):  # released just now
                content = self._store.read_file(f"{LEASES}/{name}")
                note = LeaseNote.from_bytes(content)
                if note is not None and not note.is_gone and self._has_changed(name, content):
                    found[name] = note.holder
        return found

    def _has_changed(self, name: str, content: bytes) -> bool:
        now = time.monotonic()
        with self._lock:
            before, since = self._seen.get(name, (b"", now))
            if before != content:
                self._seen[name] = content, now
                return True
        return now - since < DEAD_SECONDS
