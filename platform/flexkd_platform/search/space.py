"""The search space of each method of a sampled sweep, and the points of a random search.

A setting of a method or an axis may be a distribution. An axis that does not affect a method is not
a dimension of its space: fine-tuning does not depend on how the teacher is scored, so it is not
repeated for every sampled value. A method without dimensions is not searched.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..plan.facts import Facts, FactsOf
from ..plan.kinds.distill import distill_step
from ..spec import (
    Choice,
    Distribution,
    GridSearch,
    JobSpec,
    OptunaSearch,
    SpecError,
    canonical_json,
    spec_with,
)

Space = Mapping[str, Distribution]
"""Dotted path → the distribution of its value."""

Point = Mapping[str, Any]
"""Dotted path → value."""


@dataclass(frozen=True)
class Search:
    """A search that chooses its points from results.

    spaces: index of each searched method → its search space.
    fixed: the number of trials of the other methods.
    """

    spec: JobSpec
    facts_of: FactsOf
    spaces: Mapping[int, Space]
    fixed: int = 0

    @property
    def settings(self) -> OptunaSearch:
        """The settings of the search."""
        search = self.spec.sweep.search
        assert isinstance(search, OptunaSearch)
        return search

    @property
    def points(self) -> int:
        """The number of points; each runs with all seeds."""
        return self.settings.samples * len(self.spaces)

    @property
    def most_trials(self) -> int:
        """The maximum number of trials; fewer if two points result in the same training."""
        return self.fixed + self.points * len(self.spec.sweep.seeds)


def grid_points(spec: JobSpec) -> Iterator[Point]:
    """Every combination of the listed axes."""
    axes = spec.sweep.axes
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def method_spaces(spec: JobSpec, facts_of: FactsOf) -> dict[int, Space]:
    """The searched methods, each with its space; none for a grid.

    A method is searched if a distribution affects it. Listed axes that affect it become choices in
    its space; the other methods run for every combination of them.
    """
    if isinstance(spec.sweep.search, GridSearch):
        return {}
    spaces: dict[int, Space] = {}
    seen: dict[str, tuple[JobSpec, Facts] | None] = {}
    listed = {path: Choice(choice=v) for path, v in spec.sweep.axes.items() if len(v) > 1}
    for place in range(len(spec.sweep.methods)):
        own = f"sweep.methods[{place}]."
        settings = {p: drawn for p, drawn in spec.sweep.space.items() if p.startswith(own)}
        axes = {p: d for p, d in spec.sweep.space.items() if not p.startswith("sweep.")}
        everything: Space = {**settings, **axes, **listed}
        touching = _Comparison(spec, facts_of, place, seen).touching(everything)
        if touching.keys() - listed.keys():
            spaces[place] = touching
    return spaces


def unread(spec: JobSpec, space: Space) -> dict[str, Any]:
    """A valid value for each axis that a method with this space does not depend on."""
    values = {path: drawn.edges[-1] for path, drawn in spec.sweep.space.items()}
    values |= {path: listed[-1] for path, listed in spec.sweep.axes.items()}
    return {p: v for p, v in values.items() if p not in space and not p.startswith("sweep.")}


def random_points(space: Space, samples: int, seed: int) -> Iterator[Point]:
    """Sample points at random. Each dimension has its own random stream: a larger number of samples
    keeps the first ones unchanged, and methods that share an axis get the same values of it, so
    that they can be compared at each of them.
    """
    streams = {path: random.Random(f"{seed} {setting_name(path)}") for path in space}
    for _ in range(samples):
        yield {path: drawn.at(streams[path].random()) for path, drawn in space.items()}


def setting_name(path: str) -> str:
    """A dimension's name: a method's setting without the method's index."""
    return path.partition("].")[2] if path.startswith("sweep.methods[") else path


class _Comparison:
    """Compares the trainings of points, to find the dimensions that affect a method.

    seen: spec and facts of the points so far, shared by all methods; None for an invalid point.
    """

    def __init__(
        self,
        spec: JobSpec,
        facts_of: FactsOf,
        place: int,
        seen: dict[str, tuple[JobSpec, Facts] | None],
    ) -> None:
        self._spec, self._facts_of, self._place, self._seen = spec, facts_of, place, seen
        self._hashes: dict[str, str | None] = {}

    def touching(self, everything: Space) -> Space:
        """The dimensions that affect a training at some edges of the others.

        Whether a setting is read can depend on others: a loss's settings only matter if that loss
        is chosen, those of a loss term only if it has weight. So a dimension is tested with all
        others at their last edge, then with each of them at its other edges in turn, and at all
        edges of each dimension that was found to matter. A dimension that can be tested nowhere,
        since its edges are invalid, is kept.
        """
        last = {**unread(self._spec, everything), **{p: d.edges[-1] for p, d in everything.items()}}
        others = ({**last, path: e} for path, d in everything.items() for e in d.edges[:-1])
        places: list[Point] = [last, *others]
        found: set[str] = set()
        compared: set[str] = set()
        for here in places:  # grows during the loop
            for path in [path for path in everything if path not in found]:
                tried = [{**here, path: edge} for edge in everything[path].edges]
                hashes = [self._hash(point) for point in tried]
                if len(set(hashes) - {None}) > 1:
                    found.add(path)
                    places += tried
                if None not in hashes:
                    compared.add(path)
        return {p: d for p, d in everything.items() if p in found or p not in compared}

    def _hash(self, point: Point) -> str | None:
        key = canonical_json(dict(point))
        if key not in self._seen:
            try:
                changed = spec_with(self._spec, point)
                self._seen[key] = (changed, self._facts_of(changed))
            except SpecError:
                self._seen[key] = None
        if key not in self._hashes:
            known = self._seen[key]
            self._hashes[key] = None if known is None else self._training(*known)
        return self._hashes[key]

    def _training(self, changed: JobSpec, facts: Facts) -> str:
        method = changed.sweep.methods[self._place]
        return distill_step(changed, facts, method, self._spec.sweep.seeds[0]).hash
