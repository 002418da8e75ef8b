"""Check a sweep for overlapping paths, where one value would silently overwrite another."""

from __future__ import annotations

import itertools

from .document import PathPart, join_path, split_path
from .job import JobSpec
from .problems import Problem


def overlap_problems(spec: JobSpec) -> list[Problem]:
    """Problems of axes and drawn settings with equal or nested paths, in any notation."""
    axes = [(("sweep", "axes", path), split_path(path)) for path in spec.sweep.axes]
    space = [(("sweep", "space", path), split_path(path)) for path in spec.sweep.space]
    problems = []
    for (where, parts), (later, others) in itertools.combinations([*axes, *space], 2):
        if parts == others:
            both = where[1] == later[1]
            message = f"{later[2]} is {'listed twice' if both else 'also an axis'}"
            problems.append(Problem(join_path(later), message, "leave one of them out"))
        elif _holds(parts, others) or _holds(others, parts):
            problems.append(
                Problem(
                    join_path(later),
                    f"{later[2]} and {where[2]} overlap",
                    "vary either the whole section or its individual settings",
                )
            )
    return problems


def _holds(section: tuple[PathPart, ...], part: tuple[PathPart, ...]) -> bool:
    return bool(section) and part[: len(section)] == section
