"""Where the students of a group err, and on which examples those of two groups disagree.

Shapes: C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..spec import Problem, SpecError
from .outputs import GroupOutputs, Value

Right = Literal["first", "second", "both", "neither", ""]
"""Which group is right; "" where a prediction is not right or wrong, as of numbers and texts."""


@dataclass(frozen=True)
class Confusion:
    """How often each class was predicted for the examples of each class, summed over the seeds.

    counts: rows are the classes of the labels, columns the predicted ones.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    seeds: int


@dataclass(frozen=True)
class ClassCounts:
    """The decisions on one class of a multi-label task, summed over the seeds."""

    name: str
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


@dataclass(frozen=True)
class Disagreement:
    """An example that two groups do not predict alike, each by the consensus of its seeds.

    first_agrees, second_agrees: how many seeds predict the consensus.
    size: how far they are apart: 1 for two classes, the number of classes that one of them predicts
        alone, the absolute difference of numbers, or of the first score of texts.
    """

    example: int
    expected: Value
    first: Value
    second: Value
    first_agrees: int
    second_agrees: int
    right: Right
    size: float


def confusion(outputs: GroupOutputs) -> Confusion | None:
    """The confusion matrix; None unless an example has exactly one class."""
    if outputs.form != "class":
        return None
    pairs = Counter(
        (label, found)
        for of_seed in outputs.predicted
        for label, found in zip(outputs.expected, of_seed, strict=True)
        if isinstance(label, int) and isinstance(found, int)
    )
    classes = range(max([len(outputs.names) - 1, *(max(pair) for pair in pairs)]) + 1)
    counts = tuple(tuple(pairs[row, column] for column in classes) for row in classes)
    return Confusion(tuple(map(outputs.name, classes)), counts, len(outputs.seeds))


def class_counts(outputs: GroupOutputs) -> list[ClassCounts]:
    """The decisions by class of a multi-label task; [] for others."""
    if outputs.form != "classes":
        return []
    pairs = [
        (label, found)
        for of_seed in outputs.predicted
        for label, found in zip(outputs.expected, of_seed, strict=True)
        if isinstance(label, frozenset) and isinstance(found, frozenset)
    ]
    last = max([len(outputs.names) - 1, *(c for label, found in pairs for c in label | found)])
    counts = []
    for one in range(last + 1):
        cells = Counter((one in label, one in found) for label, found in pairs)
        counts.append(
            ClassCounts(
                outputs.name(one),
                true_positive=cells[True, True],
                false_positive=cells[False, True],
                false_negative=cells[True, False],
                true_negative=cells[False, False],
            )
        )
    return counts


def disagreements(first: GroupOutputs, second: GroupOutputs) -> list[Disagreement]:
    """The examples on which two groups differ, the largest differences first.

    Raises:
        SpecError: they were evaluated on different examples.
    """
    if first.form != second.form or first.expected != second.expected:
        message = "the two groups were evaluated on different examples"
        raise SpecError([Problem("", message, "choose two groups of one job and one set")])
    found = [_compared(first, second, example) for example in range(len(first))]
    return sorted((one for one in found if one.first != one.second), key=lambda one: -one.size)


def _compared(first: GroupOutputs, second: GroupOutputs, example: int) -> Disagreement:
    ours, theirs = first.consensus(example), second.consensus(example)
    expected = first.expected[example]
    return Disagreement(
        example,
        expected,
        ours,
        theirs,
        first.agreeing(example),
        second.agreeing(example),
        _right(first.form, ours == expected, theirs == expected),
        _size((first, second), (ours, theirs), example),
    )


def _right(form: str, first: bool, second: bool) -> Right:
    if form not in {"class", "classes"}:
        return ""
    if first and second:
        return "both"
    return "first" if first else "second" if second else "neither"


def _size(groups: Sequence[GroupOutputs], found: tuple[Value, Value], example: int) -> float:
    one, other = found
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return float(len(one ^ other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other)
    shared = [name for name in groups[0].scores if name in groups[1].scores]
    if isinstance(one, str) and shared:
        first, second = (group.scores[shared[0]][example] for group in groups)
        return abs(first - second)
    return float(one != other)
