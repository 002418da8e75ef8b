"""Partial artifacts: the finished parts of an unfinished step, as atomically written files."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from .location import StoreError
from .manifest import FileEntry, describe_bytes, describe_file
from .transfer import copy, download, put, replacing, upload
from .verification import Verifier, difference

DIGESTS = "digests"
"""The folder of a disk with the digests of parts."""

INLINE = 64 * 1024
"""Maximum size in bytes of a part that is stored in its record on an object store."""


class DamagedPartError(StoreError):
    """The content of a part differs from the digest stored with it."""


class Parts(ABC):
    """The parts of one step. Writing a part again replaces it; reads never return half a part."""

    @abstractmethod
    def names(self) -> set[str]:
        """The names of the existing parts."""

    @abstractmethod
    def damaged(self) -> dict[str, str]:
        """The existing parts whose content can be seen to differ from their digest, and how."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Store a part with its digest."""

    @abstractmethod
    def put(self, name: str, path: Path) -> FileEntry:
        """Store the content of a file of any size."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a part.

        Raises:
            FileNotFoundError: it does not exist.
            DamagedPartError: its content differs from its digest.
        """

    @abstractmethod
    def fetch(self, name: str, path: Path) -> FileEntry:
        """Copy a part of any size to a local file. Raises FileNotFoundError."""

    @abstractmethod
    def copy(self, name: str, target: str) -> FileEntry:
        """Copy a part to `target`, a path in the storage. Raises FileNotFoundError.

        The copy does not change if the part is written again later.

        Raises:
            DamagedPartError: its content differs from its digest.
        """

    @abstractmethod
    def move(self, name: str, target: str) -> None:
        """Move a damaged part to `target`, a path in the storage. Raises FileNotFoundError."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a part; a missing one is not an error."""

    @abstractmethod
    def drop_all(self) -> None:
        """Delete all parts."""


class DiskParts(Parts):
    """Stores each part as a file in a folder, and its digest in a file of `digests/`.

    The digest is written first, so that a part that was written has one. A process that is killed
    in between leaves a digest alone, or with the part of before, which then counts as damaged.
    """

    def __init__(self, folder: str, verifier: Verifier) -> None:
        self._folder, self._verifier = Path(folder), verifier

    def names(self) -> set[str]:
        """The names of all files, except temporary ones."""
        found = self._folder.iterdir() if self._folder.is_dir() else iter(())
        return {path.name for path in found if path.suffix != ".tmp" and path.name != DIGESTS}

    def damaged(self) -> dict[str, str]:
        """Compares every part; reads each once in this process."""
        found = {}
        for name in self.names():
            with suppress(FileNotFoundError):
                differs = self._verifier.difference(self._folder / name, self._entry(name))
                # Two processes may finish the step concurrently.
                if differs and (self._folder / name).exists():
                    found[name] = differs
        return found

    def write(self, name: str, content: bytes) -> None:
        """Write to a temporary file and rename it."""
        self._note(name, describe_bytes(content))
        with replacing(self._folder / name) as aside:
            aside.write_bytes(content)

    def put(self, name: str, path: Path) -> FileEntry:
        """Copy to a temporary file and rename it."""
        with replacing(self._folder / name) as aside:
            shutil.copyfile(path, aside)
            entry = describe_file(aside)
            self._note(name, entry)
            return entry

    def read(self, name: str) -> bytes:
        """Read the file."""
        content = (self._folder / name).read_bytes()
        self._compare(name, describe_bytes(content))
        return content

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
        entry = describe_file(Path(target))
        self._compare(name, entry)
        return entry

    def move(self, name: str, target: str) -> None:
        """Rename the file."""
        Path(target).parent.mkdir(exist_ok=True)
        (self._folder / name).rename(target)
        self.drop(name)

    def drop(self, name: str) -> None:
        """Delete the file."""
        (self._folder / name).unlink(missing_ok=True)
        (self._folder / DIGESTS / name).unlink(missing_ok=True)

    def drop_all(self) -> None:
        """Delete the folder."""
        with suppress(FileNotFoundError):  # two processes may finish the step concurrently
            shutil.rmtree(self._folder)

    def _note(self, name: str, entry: FileEntry) -> None:
        with replacing(self._folder / DIGESTS / name) as aside:
            aside.write_text(f"{entry.bytes} {entry.sha256}\n", encoding="utf-8")

    def _entry(self, name: str) -> FileEntry:
        """The digest of a part. Raises FileNotFoundError if it has none, as of older versions."""
        line = (self._folder / DIGESTS / name).read_text(encoding="utf-8", errors="replace")
        size, _, digest = line.strip().partition(" ")
        return FileEntry(int(size) if size.isdecimal() else -1, digest)

    def _compare(self, name: str, found: FileEntry) -> None:
        with suppress(FileNotFoundError):
            if differs := difference(found, self._entry(name)):
                raise DamagedPartError(f"{self._folder / name} {differs}")


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
        """Parse the output of `to_bytes`.

        Raises:
            DamagedPartError: it is truncated.
        """
        line, _, content = data.partition(b"\n")
        try:
            head = json.loads(line)
            return cls(FileEntry(head["bytes"], head["sha256"]), head["blob"], content)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedPartError(f"the record of a part cannot be read: {error}") from None


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

    def damaged(self) -> dict[str, str]:
        """Records that cannot be read, or whose content differs; blobs are not downloaded."""
        found = {}
        for name in self.names():
            with suppress(FileNotFoundError):
                try:
                    record = self._record(name)
                    if not record.blob:
                        _compare(name, record.content, record.entry)
                except DamagedPartError as error:
                    found[name] = str(error)
        return found

    def write(self, name: str, content: bytes) -> None:
        """Put the record; for a large part, put its blob first."""
        entry = describe_bytes(content)
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
        content = self._read(record.blob) if record.blob else record.content
        _compare(name, content, record.entry)
        return content

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

    def move(self, name: str, target: str) -> None:
        """Move the record."""
        self._filesystem.copy_file(f"{self._folder}/{name}", target)
        self.drop(name)

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


def _compare(name: str, content: bytes, entry: FileEntry) -> None:
    if differs := difference(describe_bytes(content), entry):
        raise DamagedPartError(f"the part {name} {differs}")
