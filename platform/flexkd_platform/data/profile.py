"""What a data set holds, for people: its splits, and the classes of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..spec import counted
from .checks import DataFacts
from .columns import listed
from .splits import SPLITS

CLASSES_SHOWN = 20
"""Data sets with more classes are shown without the counts of each."""


def class_lines(facts: DataFacts) -> list[str]:
    """The classes with the labels that they stand for, and their examples in every split."""
    if facts.classes is None:
        return []
    names = _names(facts)
    lines = [f"classes: {listed(names)}"]
    if facts.names:
        pairs = [f"{name} → {index}" for index, name in enumerate(names)]
        lines = [f"labels as classes: {listed(pairs)}"]
    for split in SPLITS:
        text = f"  {split}: {counted(facts.sizes[split], 'example')}"
        if facts.classes <= CLASSES_SHOWN:
            counts = zip(names, facts.counts[split], strict=True)
            text += f" ({', '.join(f'{name}: {count:,}' for name, count in counts)})"
        lines.append(text)
    return lines


def class_json(facts: DataFacts) -> dict[str, Any]:
    """The same for programs: the names of the classes, and the counts by split."""
    if facts.classes is None:
        return {}
    counts = {split: list(facts.counts[split]) for split in SPLITS}
    return {"classes": _names(facts), "counts": counts}


def untaught_classes(facts: DataFacts) -> Sequence[str]:
    """The classes that have examples in another split, and none in the train split."""
    if facts.classes is None:
        return ()
    train = facts.counts["train"]
    others = [sum(facts.counts[s][at] for s in SPLITS if s != "train") for at in range(len(train))]
    names = _names(facts)
    return [names[at] for at in range(len(train)) if others[at] and not train[at]]


def constant_classes(facts: DataFacts) -> Sequence[str]:
    """The classes that every training example has."""
    if facts.classes is None:
        return ()
    train, rows = facts.counts["train"], facts.sizes["train"]
    return [name for name, count in zip(_names(facts), train, strict=True) if count == rows]


def absent_classes(facts: DataFacts) -> Sequence[str]:
    """The classes that no example has."""
    names = _names(facts)
    return [n for at, n in enumerate(names) if not any(facts.counts[s][at] for s in SPLITS)]


def _names(facts: DataFacts) -> list[str]:
    numbers = [str(index) for index in range(facts.classes or 0)]
    return [*facts.names, *numbers[len(facts.names) :]]
