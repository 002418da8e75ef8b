"""Where artifacts live: `<storage>/steps/<kind>/<hash>/`, on any filesystem of pyarrow.

An artifact is there if and only if its manifest is. On a local disk the whole folder appears by
one rename. On an object store the files are put first, into a folder of this attempt's own, and the
manifest that names the folder last: whoever publishes at the same time has another folder, so a
manifest never speaks of anybody else's files. What pyarrow cannot do there is put a manifest only
if there is none: of two at the same instant the later one stays, and the files of the other lie
unused until they are swept. Both are whole, and made from the same step.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from ..plan import Step, StepKind
from .leftovers import sweep_folder, sweep_objects
from .location import StoreError, joined, open_location, remedy
from .manifest import MANIFEST, FileEntry, Manifest, describe_file
from .parts import DiskParts, ObjectParts, Parts
from .transfer import download, upload

ATTEMPT = "files-"
"""Begins the name of the folder that one publisher's files are put into on an object store."""


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

    def uri_of(self, path: str) -> str:
        """The place of `path` below the storage, as a path or URI that others can open."""
        return joined(self.uri, path)

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

    def artifact_uri(self, step: Step) -> str:
        """Where the files of a published artifact lie, for whoever fetches them without us."""
        place = f"steps/{step.kind}/{step.hash}"
        inner = self.manifest(step).place
        return self.uri_of(f"{place}/{inner}" if inner else place)

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
        if self.is_local:
            self.manifest_at(kind, digest)
            return Path(self._place(kind, digest))
        cached = self._downloads / kind / digest
        if not (cached / MANIFEST).is_file():
            self._download(self.manifest_at(kind, digest), cached)
        return cached

    def file(self, step: Step, name: str) -> Path:
        """One file of an artifact, on this disk: of a remote one nothing else is fetched."""
        return self.file_at(step.kind, step.hash, name)

    def file_at(self, kind: StepKind, digest: str, name: str) -> Path:
        """One file of a published artifact, by kind and hash. See `file`.

        Raises:
            StoreError: there is no such artifact, or it has no such file.
        """
        whole = self._downloads / kind / digest
        if not self.is_local and (whole / MANIFEST).is_file() and (whole / name).is_file():
            return whole / name
        manifest = self.manifest_at(kind, digest)
        if name not in manifest.files:
            known = ", ".join(manifest.files) or "none"
            raise StoreError(f"{kind} {digest[:12]} has no file {name}; it has {known}")
        if self.is_local:
            return Path(self._place(kind, digest)) / name
        # By content: a file of one attempt is not taken for that of another.
        alone = whole.with_name(f"{digest}.files") / manifest.files[name].sha256 / name
        if not alone.is_file():
            alone.parent.mkdir(parents=True, exist_ok=True)
            aside = alone.with_name(f"{alone.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                self._fetch(manifest, name, aside)
                os.replace(aside, alone)
            finally:
                aside.unlink(missing_ok=True)
        return alone

    @contextmanager
    def publish(self, step: Step, since: float | None = None) -> Iterator[Draft]:
        """Make an artifact: what the body writes into the draft becomes it, all or nothing.

        When someone else has published the same step meanwhile, theirs stays. `since` is the
        `time.perf_counter()` at which the step began, now when left out.
        """
        started = time.perf_counter() if since is None else since
        staging = Path(f"{self.root}/staging") if self.is_local else Path(tempfile.gettempdir())
        folder = staging / f"{step.kind}-{step.hash[:16]}-{uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        try:
            draft = Draft(folder)
            yield draft
            if not self.has(step):
                put = self._publish_folder if self.is_local else self._publish_objects
                put(step, draft, started)
            if draft.parts:
                self.drop_parts(step)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if self.is_local:
            sweep_folder(staging)
        else:
            place = self._place(step.kind, step.hash)
            sweep_objects(self.filesystem, place, ATTEMPT, keep=self.manifest(step).place)

    def _publish_folder(self, step: Step, draft: Draft, started: float) -> None:
        """On a disk: complete the folder, then rename it."""
        folder, place = draft.folder, Path(self._place(step.kind, step.hash))
        parts = self._parts(step)
        for name in draft.parts:
            parts.copy(name, str(folder / name))
        files = {name: describe_file(path) for name, path in _files(folder).items()}
        seconds = time.perf_counter() - started
        manifest = Manifest.of(step, files, draft.summary, seconds)
        (folder / MANIFEST).write_bytes(manifest.to_bytes())
        for name in (*manifest.files, MANIFEST):
            _sync(folder / name)
        place.parent.mkdir(parents=True, exist_ok=True)
        _move(folder, place)
        _sync(place.parent)

    def _publish_objects(self, step: Step, draft: Draft, started: float) -> None:
        """On an object store: put the files, then the manifest."""
        place = self._place(step.kind, step.hash)
        attempt = f"{ATTEMPT}{uuid.uuid4().hex[:12]}"
        target, parts = f"{place}/{attempt}", self._parts(step)
        files: dict[str, FileEntry] = {}
        try:
            for name, path in _files(draft.folder).items():
                files[name] = upload(self.filesystem, path, f"{target}/{name}")
            for name in draft.parts:
                files[name] = parts.copy(name, f"{target}/{name}")
            late = self.has(step)
            if not late:
                seconds = time.perf_counter() - started
                manifest = Manifest.of(step, files, draft.summary, seconds, attempt)
                self._write(f"{place}/{MANIFEST}", manifest.to_bytes())
        except BaseException as error:
            with suppress(OSError):  # what cannot be deleted now is swept later
                self._delete_folder(target)
            if isinstance(error, FileNotFoundError) and self.has(step):
                return  # whoever published it dropped the parts that we were copying
            raise
        if late:
            self._delete_folder(target)

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
            reason = f"the storage {self.uri} cannot be written: {error}{remedy(error)}"
            raise StoreError(reason) from None

    # --- inside --------------------------------------------------------------------------------

    def _place(self, kind: str, digest: str) -> str:
        return f"{self.root}/steps/{kind}/{digest}"

    def _parts(self, step: Step) -> Parts:
        folder = f"{self.root}/parts/{step.kind}-{step.hash}"
        return DiskParts(folder) if self.is_local else ObjectParts(self.filesystem, folder)

    @property
    def _downloads(self) -> Path:
        """Where what was fetched from this storage is kept on this disk."""
        user = f"{tempfile.gettempdir()}/flexkd-cache-{os.getuid()}"
        base = os.environ.get("FLEXKD_CACHE") or user
        return Path(base) / hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def _is_file(self, path: str) -> bool:
        return bool(self.filesystem.get_file_info(path).type == fs.FileType.File)

    def _read(self, path: str) -> bytes:
        with self.filesystem.open_input_stream(path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, path: str, content: bytes) -> None:
        # An object store's put is atomic, and it has no folders; a disk needs folders, a second
        # name and a rename.
        target = f"{path}.{uuid.uuid4().hex[:8]}.tmp" if self.is_local else path
        if self.is_local:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with self.filesystem.open_output_stream(target) as stream:
            stream.write(content)
        if target != path:
            os.replace(target, path)

    def _delete_folder(self, path: str) -> None:
        if self.filesystem.get_file_info(path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(path)

    def _download(self, manifest: Manifest, target: Path) -> None:
        """Fetch a whole artifact."""
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep_folder(target.parent, f"{manifest.hash}-")
        staging = target.with_name(f"{target.name}-{uuid.uuid4().hex[:8]}")
        staging.mkdir()
        try:
            for name in manifest.files:
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                self._fetch(manifest, name, path)
            (staging / MANIFEST).write_bytes(manifest.to_bytes())
            _move(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _fetch(self, manifest: Manifest, name: str, path: Path) -> None:
        """Fetch one file of an artifact and compare it with the manifest."""
        place = self._place(manifest.kind, manifest.hash)
        source = "/".join(part for part in (place, manifest.place, name) if part)
        if download(self.filesystem, source, path) != manifest.files[name]:
            raise StoreError(f"{source} is not what its manifest says; delete {place}")


def open_store(uri: str) -> Store:
    """The store at a local path or a URI that pyarrow knows (`s3://bucket/prefix`, …).

    Raises:
        StoreError: the URI is not understood, or holds credentials.
    """
    return Store(*open_location(uri))


def _files(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by their names in an artifact, in order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


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
