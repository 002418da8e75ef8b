"""Files between this disk and a storage, in pieces: no file is ever held in memory whole."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from .manifest import FileEntry

PIECE = 4 * 1024**2
"""Bytes read and written at a time."""

IN_FLIGHT = 16
"""Pieces given to an object store before waiting for it: pyarrow itself would queue all of them."""

COPY_LIMIT = 5 * 1024**3
"""Bytes that S3 copies on its own side by one request."""


def put(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    """Put an object in one go: there is all of it, or what was there before.

    In a thread, since none but the first is ever interrupted: pyarrow closes a stream that an
    exception leaves behind, which puts what has been written of it, be it nothing.
    """
    with ThreadPoolExecutor(1) as thread:
        thread.submit(int).result()  # a thread that is interrupted as it starts is not waited for
        thread.submit(_put, filesystem, path, content).result()


def _put(filesystem: fs.FileSystem, path: str, content: bytes) -> None:
    with filesystem.open_output_stream(path) as stream:
        stream.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """On a disk: a file to be written in place of `path`, which it replaces in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def upload(filesystem: fs.FileSystem, path: Path, target: str) -> FileEntry:
    """Put a file of this disk at `target`, a new name; returns what was put.

    An exception may leave a part of it there.
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
    """Fetch `source` to a file of this disk; returns what came.

    Raises:
        FileNotFoundError: it is not there.
    """
    digest, size = hashlib.sha256(), 0
    with filesystem.open_input_stream(source) as stream, path.open("wb") as target:
        while piece := stream.read(PIECE):
            digest.update(piece)
            size += len(piece)
            target.write(piece)
    return FileEntry(size, digest.hexdigest())


def copy(filesystem: fs.FileSystem, source: str, target: str, size: int) -> None:
    """Copy an object to another place of the same storage, which does it without us.

    Raises:
        FileNotFoundError: it is not there.
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
