"""What processes leave that were killed while they published: swept when it is old enough.

Only its age tells a leftover from the work of somebody who is still at it.
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
"""Seconds without a change after which nobody is at work on it any more."""


def sweep_folder(folder: Path, prefix: str = "") -> None:
    """Delete the entries of a folder, of those that begin with `prefix`, that are leftovers."""
    for entry in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):  # it is being renamed or deleted right now
            if _changed(entry) < time.time() - AGE:
                shutil.rmtree(entry, ignore_errors=True)


def sweep_objects(filesystem: fs.FileSystem, place: str, prefix: str, keep: str) -> None:
    """Delete folders of a place, of those that begin with `prefix`, that are leftovers."""
    selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
    newest: dict[str, float] = {}
    for info in filesystem.get_file_info(selector):
        name = info.path.removeprefix(f"{place}/").partition("/")[0]
        # A folder without a date tells nothing; its files have dates.
        if info.is_file and name.startswith(prefix) and name != keep and info.mtime is not None:
            newest[name] = max(newest.get(name, 0.0), _seconds(info.mtime))
    for name, changed in newest.items():
        if changed < time.time() - AGE:
            with suppress(FileNotFoundError):  # somebody else sweeps, too
                filesystem.delete_dir(f"{place}/{name}")


def _changed(entry: Path) -> float:
    """When anything in it was changed last."""
    return max(path.stat().st_mtime for path in _all(entry))


def _all(entry: Path) -> Iterator[Path]:
    yield entry
    yield from entry.rglob("*")


def _seconds(moment: datetime.datetime) -> float:
    return moment.timestamp()
