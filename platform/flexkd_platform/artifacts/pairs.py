"""The pairs of student and teacher units at the end of a distillation: `pairs.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..plan import LayerRef

PAIRS = "pairs.json"


@dataclass(frozen=True)
class UnitPairs:
    """What the units of a student layer are matched with.

    student, teacher: the layers.
    units: by student unit, the teacher unit; the number of the direction, for target `directions`.
    signs: by student unit, 1 or -1 for a direction; empty if all are 1.
    """

    student: LayerRef
    teacher: LayerRef
    units: tuple[int, ...]
    target: Literal["units", "directions"] = "units"
    signs: tuple[float, ...] = ()


def write_pairs(pairs: Iterable[UnitPairs | None], folder: Path) -> None:
    """Write the pairs of every layer whose units are paired; no file without any."""
    found = [asdict(one) for one in pairs if one is not None]
    if found:
        (folder / PAIRS).write_text(json.dumps(found) + "\n")


def read_pairs(file: Path) -> Sequence[UnitPairs]:
    """The inverse of `write_pairs`."""
    return [
        UnitPairs(
            entry["student"],
            entry["teacher"],
            tuple(entry["units"]),
            entry["target"],
            tuple(entry["signs"]),
        )
        for entry in json.loads(file.read_text())
    ]
