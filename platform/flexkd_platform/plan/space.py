"""What each method of a sampled sweep is drawn from, and the points of a random search.

A setting of a method, and an axis, may be a distribution. An axis that does not touch a method is
none of its dimensions: fine-tuning does not depend on how the teacher is scored, so it is not run
again for every value drawn. A method left without a dimension is not searched.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..spec import Choice, Distribution, GridSearch, JobSpec, OptunaSearch, spec_with
from .facts import FactsOf
from .steps_of import distill_step

Space = Mapping[str, Distribution]
"""Dotted path → what its value is drawn from."""

Point = Mapping[str, Any]
"""Dotted path → value."""


@dataclass(frozen=True)
class Search:
    """A search whose points are chosen as results come.

    spaces: place of each searched method → what it is drawn from.
    fixed: trials of the other methods.
    """

    spec: JobSpec
    facts_of: FactsOf
    spaces: Mapping[int, Space]
    fixed: int = 0

    @property
    def settings(self) -> OptunaSearch:
        """How it is searched."""
        search = self.spec.sweep.search
        assert isinstance(search, OptunaSearch)
        return search

    @property
    def points(self) -> int:
        """Points that are run with all seeds."""
        return self.settings.samples * len(self.spaces)

    @property
    def most_trials(self) -> int:
        """Trials in all; fewer where two points come to the same training."""
        return self.fixed + self.points * len(self.spec.sweep.seeds)


def grid_points(spec: JobSpec) -> Iterator[Point]:
    """Every combination of the listed axes."""
    axes = spec.sweep.axes
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def method_spaces(spec: JobSpec, facts_of: FactsOf) -> dict[int, Space]:
    """The methods that are searched, each with its dimensions; none in a grid.

    A method is searched if a distribution touches it. The listed axes that touch it are then
    choices of its space too; the other methods run at every combination of them.
    """
    if isinstance(spec.sweep.search, GridSearch):
        return {}
    spaces: dict[int, Space] = {}
    listed = {path: Choice(choice=v) for path, v in spec.sweep.axes.items() if len(v) > 1}
    for place in range(len(spec.sweep.methods)):
        own = f"sweep.methods[{place}]."
        settings = {p: drawn for p, drawn in spec.sweep.space.items() if p.startswith(own)}
        axes = {p: d for p, d in spec.sweep.space.items() if not p.startswith("sweep.")}
        everything: Space = {**settings, **axes, **listed}
        touching = {
            path: drawn
            for path, drawn in everything.items()
            if _touches(spec, facts_of, place, path, everything)
        }
        if touching.keys() - listed.keys():
            spaces[place] = touching
    return spaces


def unread(spec: JobSpec, space: Space) -> dict[str, Any]:
    """A right value for each axis that a method with this space does not depend on."""
    values = {path: drawn.edges[-1] for path, drawn in spec.sweep.space.items()}
    values |= {path: listed[-1] for path, listed in spec.sweep.axes.items()}
    return {p: v for p, v in values.items() if p not in space and not p.startswith("sweep.")}


def random_points(space: Space, samples: int, seed: int) -> Iterator[Point]:
    """Points drawn at random. Each dimension has a stream of its own: more samples leave the first
    ones as they are, and methods that share an axis get the same values of it, so that they can be
    compared at each of them.
    """
    streams = {path: random.Random(f"{seed} {_name(path)}") for path in space}
    for _ in range(samples):
        yield {path: drawn.at(streams[path].random()) for path, drawn in space.items()}


def _name(path: str) -> str:
    """A dimension's name: a method's setting without the method's place."""
    return path.partition("].")[2] if path.startswith("sweep.methods[") else path


def _touches(spec: JobSpec, facts_of: FactsOf, place: int, path: str, everything: Space) -> bool:
    """Whether a trial of the method is another one at another edge of a dimension."""
    # The highest values: at the lowest ones weights are 0, which hides what they weigh.
    others = {**unread(spec, everything), **{p: d.edges[-1] for p, d in everything.items()}}
    hashes = set()
    for value in everything[path].edges:
        changed = spec_with(spec, {**others, path: value})
        method = changed.sweep.methods[place]
        hashes.add(distill_step(changed, facts_of(changed), method, spec.sweep.seeds[0]).hash)
    return len(hashes) > 1
