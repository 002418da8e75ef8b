"""Verification of files on this disk against the digests of their manifests.

A file is read once after each change: in a process, and if it is large, on a node. What identifies
its state is the inode with size and times, which every write changes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from .location import StoreError
from .manifest import FileEntry, describe_file
from .transfer import describe_object

LARGE = 64 * 1024**2
"""Bytes from which the verification of a file is remembered for all processes of a node."""


class DamagedArtifactError(StoreError):
    """Files of an artifact differ from its manifest, or the manifest cannot be read.

    A job that needs the artifact sets it aside and creates it again.
    """

    def __init__(self, kind: str, digest: str, reasons: Sequence[str]) -> None:
        self.kind, self.digest, self.reasons = kind, digest, tuple(reasons)
        super().__init__(
            f"{kind} {digest[:12]} is damaged: {'; '.join(reasons)}; run the job again, which sets "
            "it aside and creates it anew"
        )

    def __reduce__(self) -> tuple[type, tuple[str, str, Sequence[str]]]:
        return type(self), (self.kind, self.digest, self.reasons)


class Verifier:
    """Compares files with their entries in a manifest.

    remembered: the folder that marks verified large files for the other processes of this node.
    """

    def __init__(self, remembered: Callable[[], Path]) -> None:
        self._remembered = remembered
        self._verified: set[tuple[object, ...]] = set()

    def difference(self, path: Path, entry: FileEntry) -> str:
        """How a file differs from its entry; "" if it does not."""
        try:
            state = _state(path, entry)
        except FileNotFoundError:
            return "is missing"
        if state in self._verified:
            return ""
        if differs := size_difference(path, entry):
            return differs
        marker = self._marker(state) if entry.bytes >= LARGE else None
        if marker is None or not marker.exists():
            if differs := difference(describe_file(path), entry):
                return differs
            if marker is not None:
                _touch(marker)
        self._verified.add(state)
        return ""

    def _marker(self, state: tuple[object, ...]) -> Path:
        name = hashlib.sha256(repr(state).encode()).hexdigest()
        return self._remembered() / "verified" / name


def size_difference(path: Path, entry: FileEntry) -> str:
    """How the size of a file differs from its entry; "" if it does not."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    return "" if size == entry.bytes else f"has {size:,} bytes instead of {entry.bytes:,}"


def difference_of_object(filesystem: fs.FileSystem, path: str, entry: FileEntry) -> str:
    """How an object of a remote storage differs from its entry; "" if it does not."""
    try:
        found = describe_object(filesystem, path)
    except FileNotFoundError:
        return "is missing"
    return difference(found, entry)


def difference(found: FileEntry, entry: FileEntry) -> str:
    """How a file that was read differs from its entry; "" if it does not."""
    if found.bytes != entry.bytes:
        return f"has {found.bytes:,} bytes instead of {entry.bytes:,}"
    if found.sha256 != entry.sha256:
        return f"has SHA-256 {found.sha256[:12]}… instead of {entry.sha256[:12]}…"
    return ""


def _state(path: Path, entry: FileEntry) -> tuple[object, ...]:
    found = os.stat(path)
    times = (found.st_mtime_ns, found.st_ctime_ns)
    return (str(path), found.st_dev, found.st_ino, found.st_size, *times, entry.sha256)


def _touch(marker: Path) -> None:
    with suppress(OSError):  # a cache that cannot be written costs time, and nothing else
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
