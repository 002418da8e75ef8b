"""Partial artifacts: the finished parts of an unfinished step, as atomically written files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from .manifest import FileEntry, describe_file
from .transfer import copy, download, put, replacing, upload

INLINE = 64 * 1024
"""Maximum size in bytes of a part that is stored in its record on an object store."""


class Parts(ABC):
    """The parts of one step. Writing a part again replaces it; reads never return half a part."""

    @abstractmethod
    def names(self) -> set[str]:
        """The names of the existing parts."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Store a part."""

    @abstractmethod
    def put(self, name: str, path: Path) -> FileEntry:
        """Store the content of a file of any size."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a part. Raises FileNotFoundError if it does not exist."""

    @abstractmethod
    def fetch(self, name: str, path: Path) -> FileEntry:
        """Copy a part of any size to a local file. Raises FileNotFoundError."""

    @abstractmethod
    def copy(self, name: str, target: str) -> FileEntry:
        """Copy a part to `target`, a path in the storage. Raises FileNotFoundError.

        The copy does not change if the part is written again later.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a part; a missing one is not an error."""

    @abstractmethod
    def drop_all(self) -> None:
        """Delete all parts."""


class DiskParts(Parts):
    """Stores each part as a file in a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def names(self) -> set[str]:
        """The names of all files, except temporary ones."""
        found = self._folder.iterdir() if self._folder.is_dir() else iter(())
        return {path.name for path in found if path.suffix != ".tmp"}

    def write(self, name: str, content: bytes) -> None:
        """Write to a temporary file and rename it."""
        with replacing(self._folder / name) as aside:
            aside.write_bytes(content)

    def put(self, name: str, path: Path) -> FileEntry:
        """Copy to a temporary file and rename it."""
        with replacing(self._folder / name) as aside:
            shutil.copyfile(path, aside)
            return describe_file(aside)

    def read(self, name: str) -> bytes:
        """Read the file."""
        return (self._folder / name).read_bytes()

    def fetch(self, name: str, path: Path) -> FileEntry:
        """Copy the file."""
        shutil.copyfile(self._folder / name, path)
        return describe_file(path)

    def copy(self, name: str, target: str) -> FileEntry:
        """Create a hard link if the filesystem has them: a part's file never changes."""
        try:
            os.link(self._folder / name, target)
        except FileNotFoundError:
            raise
        except OSError:  # not every filesystem has hard links
            shutil.copyfile(self._folder / name, target)
        return describe_file(Path(target))

    def drop(self, name: str) -> None:
        """Delete the file."""
        (self._folder / name).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Delete the folder."""
        with suppress(FileNotFoundError):  # two processes may finish the step concurrently
            shutil.rmtree(self._folder)


@dataclass(frozen=True)
class _Record:
    """The object stored under a part's name: its digest, and its content or the blob's path."""

    entry: FileEntry
    blob: str = ""
    content: bytes = b""

    def to_bytes(self) -> bytes:
        head = {"bytes": self.entry.bytes, "sha256": self.entry.sha256, "blob": self.blob}
        return json.dumps(head).encode() + b"\n" + self.content

    @classmethod
    def from_bytes(cls, data: bytes) -> _Record:
        line, _, content = data.partition(b"\n")
        head = json.loads(line)
        return cls(FileEntry(head["bytes"], head["sha256"]), head["blob"], content)


class ObjectParts(Parts):
    """Stores each part as a record, put atomically, and a large one also as an immutable blob.

    The record has the digest, so that parts become files of an artifact without being read.
    """

    def __init__(self, filesystem: fs.FileSystem, folder: str) -> None:
        self._filesystem, self._folder = filesystem, folder

    def names(self) -> set[str]:
        """The names of the records."""
        selector = fs.FileSelector(self._folder, allow_not_found=True)
        found = self._filesystem.get_file_info(selector)
        return {info.base_name for info in found if info.is_file}

    def write(self, name: str, content: bytes) -> None:
        """Put the record; for a large part, put its blob first."""
        entry = FileEntry(len(content), hashlib.sha256(content).hexdigest())
        if len(content) <= INLINE:
            self._put_record(name, _Record(entry, content=content))
            return
        blob = self._new_blob(name)
        put(self._filesystem, blob, content)
        self._put_record(name, _Record(entry, blob))

    def put(self, name: str, path: Path) -> FileEntry:
        """Upload the blob in pieces, then put its record."""
        blob = self._new_blob(name)
        entry = upload(self._filesystem, path, blob)
        self._put_record(name, _Record(entry, blob))
        return entry

    def read(self, name: str) -> bytes:
        """Read from the record, or from the blob that it names."""
        record = self._record(name)
        return self._read(record.blob) if record.blob else record.content

    def fetch(self, name: str, path: Path) -> FileEntry:
        """Download in pieces."""
        record = self._record(name)
        if record.blob:
            return download(self._filesystem, record.blob, path)
        path.write_bytes(record.content)
        return record.entry

    def copy(self, name: str, target: str) -> FileEntry:
        """Copy a blob within the storage; put content that is stored in the record."""
        record = self._record(name)
        if record.blob:
            copy(self._filesystem, record.blob, target, record.entry.bytes)
        else:
            put(self._filesystem, target, record.content)
        return record.entry

    def drop(self, name: str) -> None:
        """Delete the record first: without it the part does not exist."""
        for path in (f"{self._folder}/{name}", f"{self._folder}/blobs/{name}"):
            kind = self._filesystem.get_file_info(path).type
            with suppress(FileNotFoundError):  # another process may delete it, too
                if kind == fs.FileType.File:
                    self._filesystem.delete_file(path)
                elif kind == fs.FileType.Directory:
                    self._filesystem.delete_dir(path)

    def drop_all(self) -> None:
        """Delete all records and blobs."""
        if self._filesystem.get_file_info(self._folder).type == fs.FileType.Directory:
            with suppress(FileNotFoundError):
                self._filesystem.delete_dir(self._folder)

    def _new_blob(self, name: str) -> str:
        return f"{self._folder}/blobs/{name}/{uuid.uuid4().hex}"

    def _put_record(self, name: str, record: _Record) -> None:
        put(self._filesystem, f"{self._folder}/{name}", record.to_bytes())

    def _record(self, name: str) -> _Record:
        return _Record.from_bytes(self._read(f"{self._folder}/{name}"))

    def _read(self, path: str) -> bytes:
        with self._filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content
