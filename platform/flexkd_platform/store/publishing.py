"""How an artifact appears: whole, or not at all.

On a local disk the whole folder appears by one rename. On an object store the files are put first,
into a folder of this attempt's own, and the manifest that names the folder last: whoever publishes
at the same time has another folder, so a manifest never speaks of anybody else's files. What
pyarrow cannot do there is put a manifest only if there is none: of two at the same instant the
later one stays, and the files of the other lie unused until they are swept. Both are whole, and
made from the same step.
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
"""Begins the name of the folder that one publisher's files are put into on an object store."""


@dataclass
class Draft:
    """An artifact being made: write files into `folder`, set `summary`, name finished `parts`."""

    folder: Path
    summary: dict[str, Any] = field(default_factory=dict)
    parts: Sequence[str] = ()
    seconds: float = 0.0


def publish_folder(step: Step, draft: Draft, parts: Parts, place: Path) -> None:
    """On a disk: complete the draft's folder, then rename it."""
    folder = draft.folder
    try:
        for name in draft.parts:
            parts.copy(name, str(folder / name))
    except FileNotFoundError:
        if (place / MANIFEST).is_file():
            return  # whoever published it meanwhile dropped the parts
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
    """On an object store: put the files, then the manifest. `late`: whether there is one now."""
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
        # Whoever published it meanwhile dropped the parts that we were copying.
        if not (isinstance(error, FileNotFoundError) and late()):
            raise
        return
    manifest = Manifest.of(step, files, draft.summary, draft.seconds, attempt)
    try:
        put(filesystem, f"{place}/{MANIFEST}", manifest.to_bytes())
    except Exception:
        # An error does not tell that it was not put; an interruption does not stop it.
        with suppress(OSError):
            if not late():
                _forget(filesystem, target)
        raise


def follow_umask(folder: Path) -> None:
    """Give the files in a folder the mode that the umask allows, as the folder itself has it.

    Libraries do not always: safetensors creates files with mode 0600 (safetensors issue 782), which
    nobody else could read in a shared folder.
    """
    mode = folder.stat().st_mode & 0o666
    for path in _files(folder).values():
        path.chmod(mode)


def move(folder: Path, place: Path) -> None:
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


def _files(folder: Path) -> Mapping[str, Path]:
    """The files of a folder by their names in an artifact, in order."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _forget(filesystem: fs.FileSystem, folder: str) -> None:
    """Delete what was put; what cannot be deleted now is swept later."""
    with suppress(OSError):
        if filesystem.get_file_info(folder).type == fs.FileType.Directory:
            filesystem.delete_dir(folder)


def _sync(path: Path) -> None:
    """Have the disk keep it: a rename must not outlive the content it names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
