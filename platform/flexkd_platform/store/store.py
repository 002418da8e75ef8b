"""Where artifacts live: `<storage>/steps/<kind>/<hash>/`, on any filesystem of pyarrow.

An artifact is there if and only if its manifest is.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ..plan import Step
from .downloads import Downloads, named
from .garbage_collection import sweep_folder, sweep_objects
from .location import StoreError, joined, open_location, remedy
from .manifest import MANIFEST, FileEntry, Manifest
from .partial_artifact import DiskParts, ObjectParts, Parts
from .publishing import ATTEMPT, Draft, publish_folder, publish_objects
from .transfer import put, replacing


class Store:
    """Artifacts by kind and hash, finished chunks of unfinished steps, and files of jobs."""

    def __init__(self, filesystem: fs.FileSystem, root: str, uri: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.uri = uri
        self.is_local = isinstance(filesystem, fs.LocalFileSystem)
        self._downloads = Downloads(filesystem, self.root, uri)
        # What is published never changes, so each manifest is read once. Threads share the store;
        # a dictionary's own operations are atomic.
        self._manifests: dict[tuple[str, str], Manifest] = {}

    def uri_of(self, path: str) -> str:
        """The place of `path` below the storage, as a path or URI that others can open."""
        return joined(self.uri, path)

    # --- artifacts ---------------------------------------------------------------------------

    def has(self, step: Step) -> bool:
        """Whether the step's artifact is published. One that is not is asked for each time."""
        try:
            self.manifest_at(step.kind, step.hash)
        except StoreError:
            return False
        return True

    def manifest(self, step: Step) -> Manifest:
        """The manifest of a published artifact.

        Raises:
            StoreError: it is not there.
        """
        return self.manifest_at(step.kind, step.hash)

    def artifact_uri(self, step: Step) -> str:
        """Where the files of a published artifact lie, for whoever fetches them without us."""
        place = f"steps/{step.kind}/{step.hash}"
        inner = self.manifest(step).place
        return self.uri_of(f"{place}/{inner}" if inner else place)

    def manifest_at(self, kind: str, digest: str) -> Manifest:
        """The manifest of a published artifact, by kind and hash. See `manifest`."""
        if (kind, digest) not in self._manifests:
            try:
                content = self._read(f"{self._place(kind, digest)}/{MANIFEST}")
            except FileNotFoundError:
                raise StoreError(
                    f"no {kind} {digest[:12]} in {self.uri}; run the job that makes it"
                ) from None
            self._manifests[kind, digest] = Manifest.from_bytes(content)
        return self._manifests[kind, digest]

    def folder(self, step: Step) -> Path:
        """A local folder with the artifact's files; fetched once where the storage is remote."""
        return self.folder_at(step.kind, step.hash)

    def folder_at(self, kind: str, digest: str) -> Path:
        """The folder of a published artifact, by kind and hash. See `folder`."""
        if self.is_local:
            self.manifest_at(kind, digest)
            return Path(self._place(kind, digest))
        return self._downloads.folder(kind, digest, lambda: self.manifest_at(kind, digest))

    def file(self, step: Step, name: str) -> Path:
        """One file of an artifact, on this disk: of a remote one nothing else is fetched."""
        return self.file_at(step.kind, step.hash, name)

    def file_at(self, kind: str, digest: str, name: str) -> Path:
        """One file of a published artifact, by kind and hash. See `file`.

        Raises:
            StoreError: there is no such artifact, or it has no such file.
        """
        if not self.is_local:
            return self._downloads.file(kind, digest, name, lambda: self.manifest_at(kind, digest))
        named(self.manifest_at(kind, digest), name)
        return Path(self._place(kind, digest)) / name

    @contextmanager
    def publish(self, step: Step, since: float | None = None) -> Iterator[Draft]:
        """Make an artifact: what the body writes into the draft becomes it, all or nothing.

        When someone else has published the same step meanwhile, theirs stays. `since` is the
        `time.perf_counter()` at which the step began, now when left out.
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

    # --- finished chunks of a step that is not finished ----------------------------------------

    def parts(self, step: Step) -> set[str]:
        """Names of the chunks of `step` that are done."""
        return self._parts(step).names()

    def write_part(self, step: Step, name: str, content: bytes) -> None:
        """Keep one chunk's result; the same chunk written twice is one part."""
        self._parts(step).write(name, content)

    def put_part_file(self, step: Step, name: str, path: Path) -> FileEntry:
        """Keep the content of a file as a part, without holding it in memory; its digest."""
        return self._parts(step).put(name, path)

    def read_part(self, step: Step, name: str) -> bytes:
        """The content of one chunk.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._parts(step).read(name)

    def fetch_part(self, step: Step, name: str, path: Path) -> FileEntry:
        """Copy a part to a file of this disk, without holding it in memory; the copy's digest.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._parts(step).fetch(name, path)

    def drop_part(self, step: Step, name: str) -> None:
        """Forget one chunk, if it is there."""
        self._parts(step).drop(name)

    def drop_parts(self, step: Step) -> None:
        """Forget the chunks of a step that is published."""
        self._parts(step).drop_all()

    # --- files of jobs -------------------------------------------------------------------------

    def write_file(self, path: str, content: bytes) -> None:
        """Put a file at `path` below the storage, replacing it in one move."""
        self._write(f"{self.root}/{path}", content)

    def append_line(self, path: str, line: str) -> None:
        """Add a line to a text file below a storage that is a disk: an object store has no append.

        See `Ledger` for both.
        """
        assert self.is_local, "an object store cannot append"
        target = Path(f"{self.root}/{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")

    def drop_file(self, path: str) -> None:
        """Delete a file below the storage; one that is not there is gone already."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.root}/{path}")

    def read_file(self, path: str) -> bytes:
        """The content of the file at `path` below the storage.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._read(f"{self.root}/{path}")

    def drop_folder(self, path: str) -> None:
        """Delete a folder below the storage with all files in it; a missing one is no error."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(f"{self.root}/{path}")

    def list_folder(self, path: str) -> list[str]:
        """Names of what lies directly in a folder below the storage, sorted."""
        selector = fs.FileSelector(f"{self.root}/{path}", allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def check_writable(self) -> None:
        """Write, read and delete a file.

        Raises:
            StoreError: one of these fails; says where and why.
        """
        probe = f"{self.root}/.probe-{uuid.uuid4().hex[:8]}"
        try:
            self._write(probe, b"flexkd")
            self._read(probe)
            self.filesystem.delete_file(probe)
        except (OSError, pa.ArrowException) as error:
            reason = f"the storage {self.uri} cannot be written: {error}{remedy(error)}"
            raise StoreError(reason) from None

    # --- inside --------------------------------------------------------------------------------

    def _place(self, kind: str, digest: str) -> str:
        return f"{self.root}/steps/{kind}/{digest}"

    def _parts(self, step: Step) -> Parts:
        folder = f"{self.root}/parts/{step.kind}-{step.hash}"
        return DiskParts(folder) if self.is_local else ObjectParts(self.filesystem, folder)

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


def open_store(uri: str) -> Store:
    """The store at a local path or a URI that pyarrow knows (`s3://bucket/prefix`, …).

    Raises:
        StoreError: the URI is not understood, or holds credentials.
    """
    return Store(*open_location(uri))
