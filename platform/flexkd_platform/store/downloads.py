"""A local cache of files that were downloaded from a remote storage."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from pyarrow import fs

from .garbage_collection import sweep_folder
from .location import StoreError
from .manifest import MANIFEST, FileEntry, Manifest
from .publishing import move
from .transfer import download
from .verification import DamagedArtifactError, Verifier, difference


class Downloads:
    """Artifacts and single files, each downloaded once and verified against its manifest."""

    def __init__(self, filesystem: fs.FileSystem, root: str, uri: str, verifier: Verifier) -> None:
        self._filesystem, self._root, self._verifier = filesystem, root, verifier
        self._storage = hashlib.sha256(uri.encode()).hexdigest()[:16]

    def folder(self, kind: str, digest: str, manifest: Callable[[], Manifest]) -> Path:
        """The local folder of a whole artifact."""
        cached = self._kept / kind / digest
        if (cached / MANIFEST).is_file() and not self._is_intact(cached):
            shutil.rmtree(cached, ignore_errors=True)
        if not (cached / MANIFEST).is_file():
            self._fetch_folder(manifest(), cached)
        return cached

    def file(self, kind: str, digest: str, name: str, manifest: Callable[[], Manifest]) -> Path:
        """The local path of one file of an artifact.

        Raises:
            StoreError: the artifact has no such file.
        """
        whole = self._kept / kind / digest
        if (whole / MANIFEST).is_file() and self._is_intact(whole, name):
            return whole / name
        described = manifest()
        # By content: files of different publishing attempts must not be mixed up.
        entry = named(described, name)
        alone = whole.with_name(f"{digest}.files") / entry.sha256 / name
        if self._verifier.difference(alone, entry):
            alone.parent.mkdir(parents=True, exist_ok=True)
            aside = alone.with_name(f"{alone.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                self._fetch(described, name, aside)
                os.replace(aside, alone)
            finally:
                aside.unlink(missing_ok=True)
        return alone

    @property
    def _kept(self) -> Path:
        return downloads_folder() / self._storage

    def _is_intact(self, cached: Path, name: str | None = None) -> bool:
        """Whether the files of a downloaded folder, or one of them, are what was downloaded."""
        try:
            files = Manifest.from_bytes((cached / MANIFEST).read_bytes()).files
        except (OSError, ValueError):
            return False
        if name is not None:
            return name in files and not self._verifier.difference(cached / name, files[name])
        return not any(self._verifier.difference(cached / n, e) for n, e in files.items())

    def _fetch_folder(self, manifest: Manifest, target: Path) -> None:
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
            move(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _fetch(self, manifest: Manifest, name: str, path: Path) -> None:
        """Download one file of an artifact and verify it against the manifest."""
        place = f"{self._root}/steps/{manifest.kind}/{manifest.hash}"
        source = "/".join(part for part in (place, manifest.place, name) if part)
        entry = manifest.files[name]
        try:
            differs = difference(download(self._filesystem, source, path), entry)
        except FileNotFoundError:
            differs = "is missing"
        if differs:
            raise DamagedArtifactError(manifest.kind, manifest.hash, [f"{name} {differs}"])


def downloads_folder() -> Path:
    """The folder of this user's cache on this node."""
    named = os.environ.get("FLEXKD_CACHE")
    return Path(named) if named else _own_folder()


def _own_folder() -> Path:
    """A folder in the shared temporary folder that no other user can have written to.

    Raises:
        StoreError: another user may have written to it.
    """
    folder = Path(tempfile.gettempdir(), f"flexkd-cache-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022 or not stat.S_ISDIR(found.st_mode):
        raise StoreError(
            f"{folder}, where downloads are stored, may contain other users' files; delete it, or "
            "set FLEXKD_CACHE to a folder of your own"
        )
    return folder


def named(manifest: Manifest, name: str) -> FileEntry:
    """The entry of one file of an artifact.

    Raises:
        StoreError: there is no such file; the message lists the existing ones.
    """
    if name not in manifest.files:
        known = ", ".join(manifest.files) or "none"
        raise StoreError(f"{manifest.kind} {manifest.hash[:12]} has no file {name}; it has {known}")
    return manifest.files[name]
