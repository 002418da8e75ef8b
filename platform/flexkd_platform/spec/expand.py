"""Expand what may replace a single value in a spec: a list, which is an axis, or a distribution."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .document import PathPart, join_path, split_path
from .mixtures import scale_drawn_mixtures, scale_listed_mixtures
from .problems import Problem
from .space import is_distribution


@dataclass(frozen=True)
class Origins:
    """Where the parts of an expanded sweep come from in the file.

    methods: for each expanded method, its index in the list and its index in each of its axes.
    inline: path in `sweep.space` → where the file has the distribution instead.
    lists: the paths of `inline` that the file has as a list.
    """

    methods: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    inline: dict[str, tuple[PathPart, ...]] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)

    def of(self, problem: Problem) -> Problem:
        """The problem with its path as in the file."""
        parts = split_path(problem.path)
        if parts[:2] == ("sweep", "space") and len(parts) > 2 and parts[2] in self.inline:
            within = parts[4:] if parts[2] in self.lists else parts[3:]
            parts = (*self.inline[str(parts[2])], *within)
        if parts[:2] == ("sweep", "methods") and len(parts) > 2 and self.methods:
            place, at = self.methods[int(parts[2])]
            setting = parts[3:4]
            inner: tuple[PathPart, ...] = setting
            if setting and setting[0] in at:
                inner = (*setting, at[str(setting[0])])
            parts = ("sweep", "methods", place, *inner, *parts[4:])
        return replace(problem, path=join_path(parts))


def expanded(data: dict[str, Any]) -> tuple[dict[str, Any], Origins]:
    """Expand a spec so that every setting has one value, and move its distributions.

    In a grid, a method whose setting is a list becomes one method for each value; in a random or
    Optuna search, the list becomes a choice. Distributions move to `sweep.space`, and the settings
    that they replaced have their defaults.
    """
    sweep = data.get("sweep")
    if not isinstance(sweep, dict):
        return data, Origins()
    origins = Origins()
    sweep = dict(copy.deepcopy(sweep))
    search = sweep.get("search")
    drawn = isinstance(search, dict) and search.get("kind") in ("random", "optuna")
    given = sweep.get("space")
    space: dict[str, Any] = dict(given) if isinstance(given, dict) else {}
    if isinstance(sweep.get("methods"), list):
        sweep["methods"] = [
            _without_distributions(method, (), f"sweep.methods[{number}]", space, origins)
            for number, method in enumerate(_listed(sweep["methods"], drawn, origins))
        ]
    axes = sweep.get("axes")
    if isinstance(axes, dict):
        for path in [path for path, values in axes.items() if is_distribution(values)]:
            if path not in space:
                space[path] = axes.pop(path)
                origins.inline[path] = ("sweep", "axes", path)
    if isinstance(sweep.get("methods"), list):
        scale_drawn_mixtures(sweep["methods"], space)
    if space:
        sweep["space"] = space
    return {**data, "sweep": sweep}, origins


def _listed(methods: list[Any], drawn: bool, origins: Origins) -> Iterator[Any]:
    """The methods with lists as choices, or one method for each combination of list values."""
    for place, given in enumerate(methods):
        method, axes = given, dict[str, Any]()
        if isinstance(given, dict):
            method = scale_listed_mixtures(given)
            axes = {k: v for k, v in method.items() if k != "kind" and isinstance(v, list) and v}
        if drawn:
            chosen = {k: {"choice": v} if len(v) > 1 else v[0] for k, v in axes.items()}
            yield {**method, **chosen} if axes else method
            origins.methods.append((place, {}))
            origins.lists.update(f"sweep.methods[{place}].{k}" for k in axes if len(axes[k]) > 1)
            continue
        for numbers in itertools.product(*(range(len(values)) for values in axes.values())):
            at = dict(zip(axes, numbers, strict=True))
            one = {**method, **{k: axes[k][i] for k, i in at.items()}} if axes else method
            yield copy.deepcopy(one)
            origins.methods.append((place, at))


def _without_distributions(
    value: Any, at: tuple[str, ...], method: str, space: dict[str, Any], origins: Origins
) -> Any:
    """A method, or a section of it, without its distributions, which are moved to `space`."""
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, inner in value.items():
        part = str(key)  # YAML reads the layers of a student as numbers
        path = ".".join([method, *at, part])
        if is_distribution(inner) and path not in space:
            space[path] = inner
            origins.inline[path] = split_path(path)
        else:
            kept[key] = _without_distributions(inner, (*at, part), method, space, origins)
    return kept
