"""Files of a folder by the split they belong to; a split may be cut into numbered shards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..spec import Problem
from .columns import listed

_SHARD = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]{16})?")
"""As `datasets` and the hub name them: `train-00000-of-00005`, perhaps with a fingerprint."""


def split_name(file: Path) -> str:
    """The name of the split that a file holds, or holds a shard of."""
    shard = _SHARD.fullmatch(file.stem)
    return shard["name"] if shard else file.stem


def shard_note(file: Path, origin: str, place: str) -> list[Problem]:
    """The note that a file is one of several shards."""
    shard = _SHARD.fullmatch(file.stem)
    if not shard or int(shard["total"]) < 2:
        return []
    message = f"{origin} is one of {int(shard['total']):,} shards, and the others are not read"
    return [Problem(place, message, "name the folder to read them all")]


def whole_split(files: list[Path], split: str, given: str, place: str) -> list[Problem]:
    """Problems of the files of one split: one file, or all shards of one set."""
    shards = [_SHARD.fullmatch(file.stem) for file in files]
    if len(files) > 1 and (
        None in shards
        or len({file.suffix.lower() for file in files}) > 1
        or len({shard["total"] for shard in shards if shard}) > 1
    ):
        shown = " and ".join(listed([file.name for file in files]).split(", "))
        return [Problem(place, f"{given} holds {shown}", f"leave one {split} file")]
    first = shards[0]
    if first is None:
        return []
    total = int(first["total"])
    found = [int(shard["number"]) for shard in shards if shard]
    wanted = range(total)
    if double := sorted({number for number in found if found.count(number) > 1}):
        message = f"{given} holds shard {double[0]} of {split} {found.count(double[0])} times"
        return [Problem(place, message, "leave one of them")]
    if missing := sorted(set(wanted) - set(found)):
        names = [f"{split}-{number:05}-of-{total:05}" for number in missing]
        message = f"{given} lacks {len(missing):,} of {total:,} shards of {split}: {listed(names)}"
        return [Problem(place, message, "put all shards into the folder")]
    if beyond := [number for number in found if number not in wanted]:
        message = f"{given} holds shard {beyond[0]} of {split}, which has {total:,}, from 0"
        return [Problem(place, message, "leave the shards of one set")]
    return []


def in_order(files: Iterable[Path]) -> list[Path]:
    """Shards by their numbers; the digits are as many in all names."""
    return sorted(files, key=lambda file: file.name)
