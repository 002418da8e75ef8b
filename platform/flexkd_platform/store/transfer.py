"""Transfer files between this disk and a storage in pieces, without loading them into memory."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from .manifest import FileEntry

PIECE = 4 * 1024**2
"""Bytes read and written at a time."""

IN_FLIGHT = 16
"""Pieces sent to an object store before waiting for it: pyarrow itself would queue all of them."""

COPY_LIMIT = 5 * 1024**3
"""Maximum size in bytes of a server-side copy of S3 with one request."""


def put(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    """Put an object atomically: readers see the new content or the old one.

    Runs in a thread, since signals only interrupt the main thread: when an exception leaves a
    stream open, pyarrow closes it, which puts the incomplete content, even if it is empty.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(int).result()  # if interrupted while it starts, a thread is not waited for
        thread.submit(_put, filesystem, path, content).result()


def _put(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """On a disk: a temporary file that replaces `path` atomically when the context exits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def upload(filesystem: fs.FileSystem, path: Path, target: str) -> FileEntry:
    """Upload a local file to `target`, a new name; returns its size and digest.

    An exception may leave an incomplete object at `target`.
    """
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, filesystem.open_output_stream(target) as stream:
        for count, piece in enumerate(iter(lambda: source.read(PIECE), b""), 1):
            digest.update(piece)
            size += len(piece)
            stream.write(piece)
            if count % IN_FLIGHT == 0:
                stream.flush()
    return FileEntry(size, digest.hexdigest())


def download(filesystem: fs.FileSystem, source: str, path: Path) -> FileEntry:
    """Download `source` to a local file; returns its size and digest.

    Raises:
        FileNotFoundError: there is no such object.
    """
    with filesystem.open_input_stream(source) as stream, path.open("wb") as target:
        return _digest(stream, target.write)


def describe_object(filesystem: fs.FileSystem, source: str) -> FileEntry:
    """The size and digest of `source`, read in pieces.

    Raises:
        FileNotFoundError: there is no such object.
    """
    with filesystem.open_input_stream(source) as stream:
        return _digest(stream, lambda piece: None)


def _digest(stream: pa.NativeFile, use: Callable[[bytes], object]) -> FileEntry:
    """Size and digest of a stream, whose pieces go to `use`."""
    digest, size = hashlib.sha256(), 0
    while piece := stream.read(PIECE):
        digest.update(piece)
        size += len(piece)
        use(piece)
    return FileEntry(size, digest.hexdigest())


def copy(filesystem: fs.FileSystem, source: str, target: str, size: int) -> None:
    """Copy an object within a storage, on the server side up to `COPY_LIMIT`.

    Raises:
        FileNotFoundError: there is no such object.
    """
    if size <= COPY_LIMIT:
        filesystem.copy_file(source, target)
        return
    with (
        filesystem.open_input_stream(source) as stream,
        filesystem.open_output_stream(target) as sink,
    ):
        for count, piece in enumerate(iter(lambda: stream.read(PIECE), b""), 1):
            sink.write(piece)
            if count % IN_FLIGHT == 0:
                sink.flush()
