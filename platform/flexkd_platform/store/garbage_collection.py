"""Garbage collection: delete old files of processes that were killed while publishing.

Only the age distinguishes a leftover from the files of a process that is still publishing.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

AGE = 7 * 86400
"""Seconds without a change after which files count as leftovers."""


def sweep_folder(folder: Path, prefix: str = "") -> None:
    """Delete the leftovers among the entries of a folder that start with `prefix`."""
    for entry in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):  # another process renames or deletes it
            if _changed(entry) < time.time() - AGE:
                shutil.rmtree(entry, ignore_errors=True)


def sweep_objects(filesystem: fs.FileSystem, place: str, prefix: str, keep: str) -> None:
    """Delete the leftovers among the folders in `place` that start with `prefix`, except `keep`."""
    selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
    newest: dict[str, float] = {}
    for info in filesystem.get_file_info(selector):
        name = info.path.removeprefix(f"{place}/").partition("/")[0]
        # Folders may have no date; files have one.
        if info.is_file and name.startswith(prefix) and name != keep and info.mtime is not None:
            newest[name] = max(newest.get(name, 0.0), _seconds(info.mtime))
    for name, changed in newest.items():
        if changed < time.time() - AGE:
            with suppress(FileNotFoundError):  # another process deletes it, too
                filesystem.delete_dir(f"{place}/{name}")


def _changed(entry: Path) -> float:
    """The time of the last change to anything in it."""
    return max(path.stat().st_mtime for path in _all(entry))


def _all(entry: Path) -> Iterator[Path]:
    yield entry
    yield from entry.rglob("*")


def _seconds(moment: datetime.datetime) -> float:
    return moment.timestamp()
