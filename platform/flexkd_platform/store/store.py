"""The artifact store: `<storage>/steps/<kind>/<hash>/` on any filesystem of pyarrow.

An artifact is published if and only if its manifest exists.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

import pyarrow as pa
from pyarrow import fs

from ..plan import Step
from .downloads import Downloads, downloads_folder, named
from .garbage_collection import sweep_folder, sweep_objects
from .location import StoreError, joined, open_location, remedy
from .manifest import MANIFEST, FileEntry, Manifest
from .partial_artifact import DiskParts, ObjectParts, Parts
from .publishing import ATTEMPT, Draft, publish_folder, publish_objects
from .transfer import put, replacing
from .verification import (
    DamagedArtifactError,
    Verifier,
    difference_of_object,
    size_difference,
)

_log = logging.getLogger(__name__)

QUARANTINE = "quarantine"
"""The folder in the storage with damaged artifacts."""


class Store:
    """Artifacts by kind and hash, finished chunks of unfinished steps, and files of jobs."""

    def __init__(self, filesystem: fs.FileSystem, root: str, uri: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.uri = uri
        self.is_local = isinstance(filesystem, fs.LocalFileSystem)
        self._verifier = Verifier(downloads_folder)
        self._downloads = Downloads(filesystem, self.root, uri, self._verifier)
        # Published artifacts never change, so each manifest is read once. Threads share the store;
        # operations of a dictionary are atomic.
        self._manifests: dict[tuple[str, str], Manifest] = {}

    def uri_of(self, path: str) -> str:
        """The location of `path` in the storage, as a path or URI that other processes can open."""
        return joined(self.uri, path)

    # --- artifacts ---------------------------------------------------------------------------

    def has(self, step: Step) -> bool:
        """Whether the step's artifact is published. Only a positive answer is cached."""
        try:
            self.manifest_at(step.kind, step.hash)
        except StoreError:
            return False
        return True

    def manifest(self, step: Step) -> Manifest:
        """The manifest of a published artifact.

        Raises:
            StoreError: the artifact is not published.
        """
        return self.manifest_at(step.kind, step.hash)

    def artifact_uri(self, step: Step) -> str:
        """The URI of the files of a published artifact, for access with other tools."""
        place = f"steps/{step.kind}/{step.hash}"
        inner = self.manifest(step).place
        return self.uri_of(f"{place}/{inner}" if inner else place)

    def manifest_at(self, kind: str, digest: str) -> Manifest:
        """The manifest of a published artifact, by kind and hash. See `manifest`.

        Raises:
            DamagedArtifactError: it cannot be read.
        """
        if (kind, digest) not in self._manifests:
            try:
                content = self._read(f"{self._place(kind, digest)}/{MANIFEST}")
            except FileNotFoundError:
                raise StoreError(
                    f"no {kind} {digest[:12]} in {self.uri}; run the job that creates it"
                ) from None
            self._manifests[kind, digest] = _parsed(content, kind, digest)
        return self._manifests[kind, digest]

    def folder(self, step: Step) -> Path:
        """A local folder with the artifact's files; downloaded once if the storage is remote.

        Raises:
            DamagedArtifactError: a file differs from the manifest.
        """
        return self.folder_at(step.kind, step.hash)

    def folder_at(self, kind: str, digest: str) -> Path:
        """The folder of a published artifact, by kind and hash. See `folder`."""
        if self.is_local:
            manifest = self.manifest_at(kind, digest)
            self._verify(manifest, manifest.files)
            return Path(self._place(kind, digest))
        return self._downloads.folder(kind, digest, lambda: self.manifest_at(kind, digest))

    def file(self, step: Step, name: str) -> Path:
        """The local path of one file of an artifact; a remote store downloads only this file."""
        return self.file_at(step.kind, step.hash, name)

    def file_at(self, kind: str, digest: str, name: str) -> Path:
        """One file of a published artifact, by kind and hash. See `file`.

        Raises:
            StoreError: there is no such artifact, or it has no such file.
            DamagedArtifactError: the file differs from the manifest.
        """
        if not self.is_local:
            return self._downloads.file(kind, digest, name, lambda: self.manifest_at(kind, digest))
        manifest = self.manifest_at(kind, digest)
        named(manifest, name)
        self._verify(manifest, [name])
        return Path(self._place(kind, digest)) / name

    @contextmanager
    def publish(self, step: Step, since: float | None = None) -> Iterator[Draft]:
        """Publish an artifact atomically: the body of the `with` statement writes it to the draft.

        If another process has published the same step meanwhile, its artifact is kept. `since` is
        the `time.perf_counter()` at which the step began (default: now).
        """
        started = time.perf_counter() if since is None else since
        place = self._place(step.kind, step.hash)
        staging = Path(f"{self.root}/staging") if self.is_local else Path(tempfile.gettempdir())
        folder = staging / f"{step.kind}-{step.hash[:16]}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            draft = Draft(folder)
            yield draft
            draft.seconds = time.perf_counter() - started
            if not self.has(step):
                self._clear_damaged(step)
                parts = self._parts(step)
                if self.is_local:
                    publish_folder(step, draft, parts, Path(place))
                else:
                    late = partial(self.has, step)
                    publish_objects(step, draft, parts, self.filesystem, place, late)
            if draft.parts:
                self.drop_parts(step)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if self.is_local:
            sweep_folder(staging)
        else:
            sweep_objects(self.filesystem, place, ATTEMPT, keep=self.manifest(step).place)

    # --- damage ------------------------------------------------------------------------------

    def damage(
        self, kind: str, digest: str, *, up_to: int | None = None, download: bool = False
    ) -> list[str]:
        """How an artifact differs from its manifest, one line a file; empty if it does not.

        An artifact that is not published has no damage.

        up_to: compare files of at most so many bytes, and that all others exist with their size.
        download: read a remote artifact as well, which is verified when it is downloaded.
        """
        try:
            manifest = self.manifest_at(kind, digest)
        except DamagedArtifactError as error:
            return list(error.reasons)
        except StoreError:
            return []
        if not self.is_local and not download:
            return []
        return self._reasons(manifest, manifest.files, up_to)

    def is_readable(self, step: Step, name: str) -> bool:
        """Whether the artifact is published and this file of it is not damaged."""
        try:
            self.file(step, name)
        except StoreError:
            return False
        return True

    def set_aside(self, kind: str, digest: str) -> str:
        """Unpublish a damaged artifact; returns the path in the storage where it is kept.

        On an object store only the manifest is kept: the files are deleted after some days.
        """
        place, name = self._place(kind, digest), f"{kind}-{digest[:16]}-{uuid.uuid4().hex[:8]}"
        self._manifests.pop((kind, digest), None)
        target = f"{QUARANTINE}/{name}"
        with suppress(FileNotFoundError):  # another process was faster
            if self.is_local:
                Path(self.root, QUARANTINE).mkdir(exist_ok=True)
                Path(place).rename(Path(self.root, target))
            else:
                self.write_file(f"{target}/{MANIFEST}", self._read(f"{place}/{MANIFEST}"))
                self.filesystem.delete_file(f"{place}/{MANIFEST}")
        return target

    def _difference(self, manifest: Manifest, name: str, up_to: int | None) -> str:
        entry = manifest.files[name]
        if not self.is_local:
            place = self._place(manifest.kind, manifest.hash)
            return difference_of_object(self.filesystem, f"{place}/{manifest.place}/{name}", entry)
        path = Path(self._place(manifest.kind, manifest.hash)) / name
        if up_to is not None and entry.bytes > up_to:
            return size_difference(path, entry)
        return self._verifier.difference(path, entry)

    def _verify(self, manifest: Manifest, names: Iterable[str]) -> None:
        if reasons := self._reasons(manifest, names):
            raise DamagedArtifactError(manifest.kind, manifest.hash, reasons)

    def _reasons(
        self, manifest: Manifest, names: Iterable[str], up_to: int | None = None
    ) -> list[str]:
        found = {name: self._difference(manifest, name, up_to) for name in names}
        return [f"{name} {difference}" for name, difference in found.items() if difference]

    def _clear_damaged(self, step: Step) -> None:
        """Set aside what has a manifest that cannot be read: it would count as published."""
        with suppress(StoreError):
            self.manifest(step)
            return
        if self._is_file(f"{self._place(step.kind, step.hash)}/{MANIFEST}"):
            self.set_aside(step.kind, step.hash)

    # --- finished chunks of an unfinished step -------------------------------------------------

    def parts(self, step: Step) -> set[str]:
        """The names of the finished chunks of `step`."""
        return self._parts(step).names()

    def intact_parts(self, step: Step) -> set[str]:
        """The names of the finished chunks; damaged ones are moved to `quarantine/` and logged."""
        parts = self._parts(step)
        damaged = parts.damaged()
        for name, differs in damaged.items():
            place = f"{step.kind}-{step.hash[:16]}-{name}-{uuid.uuid4().hex[:8]}"
            place = f"{QUARANTINE}/{place}"
            with suppress(FileNotFoundError):  # another process was faster
                parts.move(name, f"{self.root}/{place}")
            _log.warning(
                "the part %s of %s %s %s; it is set aside in %s and computed again",
                *(name, step.kind, step.hash[:12], differs, self.uri_of(place)),
            )
        return parts.names() - set(damaged)

    def write_part(self, step: Step, name: str, content: bytes) -> None:
        """Store the result of one chunk; writing it again replaces it."""
        self._parts(step).write(name, content)

    def put_part_file(self, step: Step, name: str, path: Path) -> FileEntry:
        """Store the content of a file as a part, without loading it into memory; its digest."""
        return self._parts(step).put(name, path)

    def read_part(self, step: Step, name: str) -> bytes:
        """The content of one chunk.

        Raises:
            FileNotFoundError: there is no such chunk.
        """
        return self._parts(step).read(name)

    def fetch_part(self, step: Step, name: str, path: Path) -> FileEntry:
        """Copy a part to a local file, without loading it into memory; returns the copy's digest.

        Raises:
            FileNotFoundError: there is no such part.
        """
        return self._parts(step).fetch(name, path)

    def drop_part(self, step: Step, name: str) -> None:
        """Delete one chunk if it exists."""
        self._parts(step).drop(name)

    def drop_parts(self, step: Step) -> None:
        """Delete all chunks of a step."""
        self._parts(step).drop_all()

    # --- files of jobs -------------------------------------------------------------------------

    def write_file(self, path: str, content: bytes) -> None:
        """Write a file at `path` in the storage, replacing it atomically."""
        self._write(f"{self.root}/{path}", content)

    def append_line(self, path: str, line: str) -> None:
        """Append a line to a text file of a local storage: an object store cannot append.

        `Ledger` supports both.
        """
        assert self.is_local, "an object store cannot append"
        target = Path(f"{self.root}/{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a+b") as stream:
            stream.write(f"{_line_end(stream)}{line}\n".encode())

    def drop_file(self, path: str) -> None:
        """Delete a file in the storage; a missing one is not an error."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.root}/{path}")

    def read_file(self, path: str) -> bytes:
        """The content of the file at `path` in the storage.

        Raises:
            FileNotFoundError: there is no such file.
        """
        return self._read(f"{self.root}/{path}")

    def drop_folder(self, path: str) -> None:
        """Delete a folder in the storage with all its files; a missing one is not an error."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(f"{self.root}/{path}")

    def list_folder(self, path: str) -> list[str]:
        """The names of the direct entries of a folder in the storage, sorted."""
        selector = fs.FileSelector(f"{self.root}/{path}", allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def check_writable(self) -> None:
        """Write, read and delete a file.

        Raises:
            StoreError: one of these operations failed.
        """
        probe = f"{self.root}/.probe-{uuid.uuid4().hex[:8]}"
        try:
            self._write(probe, b"flexkd")
            self._read(probe)
            self.filesystem.delete_file(probe)
        except (OSError, pa.ArrowException) as error:
            reason = f"the storage {self.uri} cannot be written: {error}{remedy(error)}"
            raise StoreError(reason) from None

    # --- internals -----------------------------------------------------------------------------

    def _place(self, kind: str, digest: str) -> str:
        return f"{self.root}/steps/{kind}/{digest}"

    def _parts(self, step: Step) -> Parts:
        folder = f"{self.root}/parts/{step.kind}-{step.hash}"
        return (
            DiskParts(folder, self._verifier)
            if self.is_local
            else ObjectParts(self.filesystem, folder)
        )

    def _is_file(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type == fs.FileType.File)

    def _read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, path: str, content: bytes) -> None:
        if not self.is_local:
            put(self.filesystem, path, content)
            return
        with replacing(Path(path)) as aside:
            aside.write_bytes(content)


def _line_end(stream: IO[bytes]) -> str:
    """A line end if the last line of a file has none: its writer was killed."""
    if not stream.seek(0, os.SEEK_END):
        return ""
    stream.seek(-1, os.SEEK_END)
    return "" if stream.read() == b"\n" else "\n"


def _parsed(content: bytes, kind: str, digest: str) -> Manifest:
    try:
        manifest = Manifest.from_bytes(content)
        if (manifest.kind, manifest.hash) != (kind, digest):
            raise ValueError(f"belongs to {manifest.kind} {manifest.hash[:12]}")
    except ValueError as error:
        raise DamagedArtifactError(kind, digest, [f"{MANIFEST} {error}"]) from None
    return manifest


def open_store(uri: str) -> Store:
    """Open the store at a local path or a URI that pyarrow supports (`s3://bucket/prefix`, …).

    Raises:
        StoreError: the URI is not supported, or contains credentials.
    """
    return Store(*open_location(uri))
