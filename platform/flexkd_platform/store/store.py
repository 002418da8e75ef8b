"""Where artifacts live: `<storage>/steps/<kind>/<hash>/`, on any filesystem of pyarrow.

An artifact is there if and only if its manifest is. On a local disk the whole folder appears by
one rename; on an object store the files are put first and the manifest last.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ..plan import Step, StepKind
from .manifest import MANIFEST, Manifest, describe_file


class StoreError(ValueError):
    """The storage cannot be used as asked; says what to do."""


@dataclass
class Draft:
    """An artifact being made: write files into `folder`, set `summary`, name finished `parts`."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    parts: Sequence[str] = ()


class Store:
    """Artifacts by kind and hash, finished chunks of unfinished steps, and files of jobs."""

    def __init__(self, filesystem: fs.FileSystem, root: str, uri: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")
        self.uri = uri
        self.is_local = isinstance(filesystem, fs.LocalFileSystem)

    # --- artifacts ---------------------------------------------------------------------------

    def has(self, step: Step) -> bool:
        """Whether the step's artifact is there, whole."""
        return self._is_file(f"{self._place(step.kind, step.hash)}/{MANIFEST}")

    def manifest(self, step: Step) -> Manifest:
        """The manifest of a published artifact.

        Raises:
            StoreError: it is not there.
        """
        return self.manifest_at(step.kind, step.hash)

    def manifest_at(self, kind: StepKind, digest: str) -> Manifest:
        """The manifest of a published artifact, by kind and hash. See `manifest`."""
        try:
            return Manifest.from_bytes(self._read(f"{self._place(kind, digest)}/{MANIFEST}"))
        except FileNotFoundError:
            raise StoreError(
                f"no {kind} {digest[:12]} in {self.uri}; run the job that makes it"
            ) from None

    def folder(self, step: Step) -> Path:
        """A local folder with the artifact's files; fetched once where the storage is remote."""
        return self.folder_at(step.kind, step.hash)

    def folder_at(self, kind: StepKind, digest: str) -> Path:
        """The folder of a published artifact, by kind and hash. See `folder`."""
        place = self._place(kind, digest)
        if self.is_local:
            self.manifest_at(kind, digest)
            return Path(place)
        cached = _download_folder(self.uri) / kind / digest
        if not (cached / MANIFEST).is_file():
            self._download(place, self.manifest_at(kind, digest), cached)
        return cached

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
            for name in draft.parts:
                (folder / name).write_bytes(self.read_part(step, name))
            files = {
                path.relative_to(folder).as_posix(): describe_file(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            manifest = Manifest.of(step, files, draft.summary, time.perf_counter() - started)
            if not self.has(step):
                self._commit(folder, place, manifest)
            if draft.parts:
                self.drop_parts(step)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _commit(self, folder: Path, place: str, manifest: Manifest) -> None:
        if not self.is_local:
            for name in manifest.files:
                self._write(f"{place}/{name}", (folder / name).read_bytes())
            self._write(f"{place}/{MANIFEST}", manifest.to_bytes())
            return
        (folder / MANIFEST).write_bytes(manifest.to_bytes())
        for name in (*manifest.files, MANIFEST):
            _sync(folder / name)
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        _move(folder, Path(place))
        _sync(Path(place).parent)

    # --- finished chunks of a step that is not finished ----------------------------------------

    def parts(self, step: Step) -> set[str]:
        """Names of the chunks of `step` that are done."""
        selector = fs.FileSelector(self._parts(step), allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return {info.base_name for info in found if not info.base_name.endswith(".tmp")}

    def write_part(self, step: Step, name: str, content: bytes) -> None:
        """Keep one chunk's result; the same chunk written twice is one part."""
        self._write(f"{self._parts(step)}/{name}", content)

    def read_part(self, step: Step, name: str) -> bytes:
        """The content of one chunk."""
        return self._read(f"{self._parts(step)}/{name}")

    def drop_part(self, step: Step, name: str) -> None:
        """Forget one chunk, if it is there."""
        path = f"{self._parts(step)}/{name}"
        if self._is_file(path):
            self.filesystem.delete_file(path)

    def drop_parts(self, step: Step) -> None:
        """Forget the chunks of a step that is published."""
        self._delete_folder(self._parts(step))

    # --- files of jobs -------------------------------------------------------------------------

    def write_file(self, path: str, content: bytes) -> None:
        """Put a file at `path` below the storage, replacing it in one move."""
        self._write(f"{self.root}/{path}", content)

    def append_line(self, path: str, line: str) -> None:
        """Add a line to a text file below the storage.

        An object store cannot append, so the file is read and put again there: for small files.
        """
        if self.is_local:
            target = Path(f"{self.root}/{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")
            return
        try:
            before = self.read_file(path)
        except FileNotFoundError:
            before = b""
        self.write_file(path, before + f"{line}\n".encode())

    def read_file(self, path: str) -> bytes:
        """The content of the file at `path` below the storage.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._read(f"{self.root}/{path}")

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
            raise StoreError(f"the storage {self.uri} cannot be written: {error}") from None

    # --- inside --------------------------------------------------------------------------------

    def _place(self, kind: StepKind, digest: str) -> str:
        return f"{self.root}/steps/{kind}/{digest}"

    def _parts(self, step: Step) -> str:
        return f"{self.root}/parts/{step.kind}-{step.hash}"

    def _is_file(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type == fs.FileType.File)

    def _read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, path: str, content: bytes) -> None:
        # An object store's put is atomic; a disk needs a second name and a rename.
        target = f"{path}.{uuid.uuid4().hex[:8]}.tmp" if self.is_local else path
        self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        with self.filesystem.open_output_stream(target) as stream:
            stream.write(content)
        if target != path:
            os.replace(target, path)

    def _delete_folder(self, path: str) -> None:
        if self.filesystem.get_file_info(path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(path)

    def _download(self, place: str, manifest: Manifest, target: Path) -> None:
        staging = target.with_name(f"{target.name}-{uuid.uuid4().hex[:8]}")
        staging.mkdir(parents=True)
        for name, entry in manifest.files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._read(f"{place}/{name}"))
            if describe_file(path) != entry:
                shutil.rmtree(staging)
                raise StoreError(f"{place}/{name} is not what its manifest says; delete {place}")
        (staging / MANIFEST).write_bytes(manifest.to_bytes())
        _move(staging, target)
        shutil.rmtree(staging, ignore_errors=True)


def open_store(uri: str) -> Store:
    """The store at a local path or a URI that pyarrow knows (`s3://bucket/prefix`, …).

    Raises:
        StoreError: the URI is not understood.
    """
    if "://" not in uri:
        path = Path(uri).expanduser().resolve()
        return Store(fs.LocalFileSystem(), str(path), str(path))
    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise StoreError(f"{uri} is no storage that can be used: {error}") from None
    return Store(filesystem, root, root if isinstance(filesystem, fs.LocalFileSystem) else uri)


def _download_folder(uri: str) -> Path:
    base = os.environ.get("FLEXKD_CACHE") or f"{tempfile.gettempdir()}/flexkd-cache-{os.getuid()}"
    return Path(base) / hashlib.sha256(uri.encode()).hexdigest()[:16]


def _move(folder: Path, place: Path) -> None:
    """Rename a whole artifact to its place, unless another process put one there first."""
    for _ in range(2):
        try:
            folder.rename(place)
        except OSError:
            if (place / MANIFEST).is_file():
                return
            if not place.is_dir():
                raise
            # What has no manifest is no artifact, as after a copy that was cut off: it makes way.
            shutil.rmtree(place, ignore_errors=True)
        else:
            return
    raise OSError(f"{place} holds no artifact and cannot be replaced; delete it")


def _sync(path: Path) -> None:
    """Have the disk keep it: a rename must not outlive the content it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
