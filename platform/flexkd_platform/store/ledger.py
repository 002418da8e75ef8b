"""An append-only text file with a single writer, on a local disk or an object store.

An object store cannot append. There, new lines are put as separate objects next to the file, in
`<file>.new/`, and merged into the file when the writer opens and closes it. A reader sees each line
once, also after a crash between the merge and the deletion of the merged objects.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

from .store import Store


class Ledger:
    """The lines of the file at `path` in a storage.

    One process at a time may write, from `open` to `close`.
    """

    def __init__(self, store: Store, path: str) -> None:
        self._store, self._path = store, path
        self._segments = f"{path}.new"
        self._later: list[str] = []
        self._merged: list[str] = []
        # Names sort by the time of opening, then by number.
        self._attempt = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
        self._count = 0

    def read(self) -> list[str]:
        """All lines, the oldest first; none if there is no file."""
        try:
            lines = self._store.read_file(self._path).decode(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        if self._store.is_local:
            return lines
        known = set(lines)
        for name in self._store.list_folder(self._segments):
            content = self._store.read_file(f"{self._segments}/{name}").decode(errors="replace")
            lines += [line for line in content.splitlines() if line not in known]
        return lines

    def open(self) -> list[str]:
        """Open for writing; returns the existing lines."""
        lines = self.read()
        if not self._store.is_local:
            self._merged = lines
            if self._store.list_folder(self._segments):
                self._merge()
        return lines

    def append(self, line: str, *, later: bool = False) -> None:
        """Append a line.

        later: whether the write may be deferred until the next line without `later`, or `close`.
        """
        self._later.append(line)
        if not later:
            self._write(self._later)
            self._later = []

    def close(self) -> None:
        """Write deferred lines, and merge all lines into the file."""
        if self._later:
            self._write(self._later)
            self._later = []
        if self._count:
            self._merge()

    def _write(self, lines: Iterable[str]) -> None:
        text = "\n".join(lines)
        if self._store.is_local:
            self._store.append_line(self._path, text)
            return
        self._count += 1
        name = f"{self._segments}/{self._attempt}-{self._count:06d}.jsonl"
        self._store.write_file(name, f"{text}\n".encode())
        self._merged += text.splitlines()

    def _merge(self) -> None:
        content = "".join(f"{line}\n" for line in self._merged)
        self._store.write_file(self._path, content.encode())
        self._store.drop_folder(self._segments)
        self._count = 0
