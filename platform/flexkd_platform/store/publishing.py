"""Publish artifacts atomically: an artifact appears complete, or not at all.

On a local disk, the folder is published by one rename. On an object store, the files are first put
into a folder that is unique to this attempt, then the manifest that names the folder. Concurrent
publishers have different folders, so a manifest never describes the files of another attempt.
pyarrow has no conditional put: of two concurrent manifests the last one wins, and the files of the
other stay unused until they are garbage-collected. Both are complete and come from the same step.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyarrow import fs

from ..plan import Step
from .manifest import MANIFEST, FileEntry, Manifest, describe_file
from .partial_artifact import Parts
from .transfer import put, upload

ATTEMPT = "files-"
"""Prefix of the folder that one publishing attempt puts its files into on an object store."""


@dataclass
class Draft:
    """An unpublished artifact: write files to `folder`, set `summary`, list finished `parts`."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    parts: Sequence[str] = ()
    seconds: float = 0.0


def publish_folder(step: Step, draft: Draft, parts: Parts, place: Path) -> None:
    """Publish on a disk: complete the draft's folder, then rename it."""
    folder = draft.folder
    try:
        for name in draft.parts:
            parts.copy(name, str(folder / name))
    except FileNotFoundError:
        if (place / MANIFEST).is_file():
            return  # another process published it meanwhile and dropped the parts
        raise
    files = {name: describe_file(path) for name, path in _files(folder).items()}
    manifest = Manifest.of(step, files, draft.summary, draft.seconds)
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    follow_umask(folder)
    for name in (*manifest.files, MANIFEST):
        _sync(folder / name)
    place.parent.mkdir(parents=True, exist_ok=True)
    move(folder, place)
    _sync(place.parent)


def publish_objects(
    step: Step,
    draft: Draft,
    parts: Parts,
    filesystem: fs.FileSystem,
    place: str,
    late: Callable[[], bool],
) -> None:
    """Publish on an object store: put the files, then the manifest. late: whether it exists now."""
    attempt = f"{ATTEMPT}{uuid.uuid4().hex[:12]}"
    target = f"{place}/{attempt}"
    files: dict[str, FileEntry] = {}
    try:
        for name, path in _files(draft.folder).items():
            files[name] = upload(filesystem, path, f"{target}/{name}")
        for name in draft.parts:
            files[name] = parts.copy(name, f"{target}/{name}")
        if late():
            _forget(filesystem, target)
            return
    except BaseException as error:
        _forget(filesystem, target)
        # Another process published it meanwhile and dropped the parts that we were copying.
        if not (isinstance(error, FileNotFoundError) and late()):
            raise
        return
    manifest = Manifest.of(step, files, draft.summary, draft.seconds, attempt)
    try:
        put(filesystem, f"{place}/{MANIFEST}", manifest.to_bytes())
    except Exception:
        # After an error the manifest may still have been put; an interruption does not stop a put.
        with suppress(OSError):
            if not late():
                _forget(filesystem, target)
        raise


def follow_umask(folder: Path) -> None:
    """Set the mode of the files in a folder to what the umask allows, as for the folder itself.

    Libraries do not always respect it: safetensors creates files with mode 0600 (safetensors issue
    782), which other users of a shared folder could not read.
    """
    mode = folder.stat().st_mode & 0o666
    for path in _files(folder).values():
        path.chmod(mode)


def move(folder: Path, place: Path) -> None:
    """Rename a complete artifact to its final path, unless another process was first."""
    for _ in range(2):
        try:
            folder.rename(place)
        except OSError:
            if (place / MANIFEST).is_file():
                return
            if not place.is_dir():
                raise
            # A folder without a manifest, for example of an interrupted copy, is replaced.
            shutil.rmtree(place, ignore_errors=True)
        else:
            return
    raise OSError(f"{place} holds no artifact and cannot be replaced; delete it")


def _files(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by their names in an artifact, sorted."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _forget(filesystem: fs.FileSystem, folder: str) -> None:
    """Delete the files that were put; what cannot be deleted now is garbage-collected later."""
    with suppress(OSError):
        if filesystem.get_file_info(folder).type == fs.FileType.Directory:
            filesystem.delete_dir(folder)


def _sync(path: Path) -> None:
    """Flush to disk, so that a rename is never persisted without the content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
