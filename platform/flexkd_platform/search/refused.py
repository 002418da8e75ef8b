"""Sampled points that are invalid: each is skipped and reported with its reason.

The edges of each distribution are valid, but some combinations of values, or numbers between two
edges, may not be: a student's width must be divisible by its number of attention heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec import JobSpec, Problem, canonical_json
from .space import Point, setting_name


@dataclass(frozen=True)
class Refused:
    """A point that was sampled for a method, and the problems of the resulting spec."""

    method: str
    place: int
    point: Point
    problems: tuple[Problem, ...]

    @property
    def reason(self) -> str:
        """Its first problem, for example `student.init.hidden_size: a width of 182 …`."""
        first = self.problems[0]
        return f"{first.path}: {first.message}" if first.path else first.message

    @property
    def drawn(self) -> str:
        """The sampled values, for example `alpha=0, lambda=0`."""
        return ", ".join(
            f"{setting_name(path)}={value if isinstance(value, str) else canonical_json(value)}"
            for path, value in self.point.items()
        )

    def to_json(self) -> dict[str, Any]:
        """The entry in `results.json`."""
        return {"method": self.method, "point": dict(self.point), "reason": self.reason}


def refused_text(refused: Sequence[Refused]) -> str:
    """One sentence about one or more rejected points."""
    first = refused[0]
    are, were = ("s are", "were") if len(refused) > 1 else (" is", "was")
    points = f"{len(refused)} sampled point{are} invalid and {were} skipped"
    return f"{points}; {first.method} with {first.drawn}: {first.reason}"


def empty_searches(spec: JobSpec, refused: Sequence[Refused], left: set[int]) -> list[Problem]:
    """The problems of searched methods that have no allowed point.

    left: indices of the methods that have one.
    """
    by_place: dict[int, list[Refused]] = {}
    for one in refused:
        by_place.setdefault(one.place, []).append(one)
    return [
        Problem(
            f"sweep.methods[{place}]",
            f"none of the {len(points)} sampled points of {points[0].method} is valid; with "
            f"{points[0].drawn}: {points[0].reason}",
            f"{points[0].problems[0].remedy or 'sample from compatible values'}; or sample more "
            "points: sweep.search.samples",
        )
        for place, points in by_place.items()
        if place not in left
    ]
