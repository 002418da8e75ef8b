"""Check that a training has one length: a number of epochs or a number of steps."""

from __future__ import annotations

from typing import Any

from .document import join_path, split_path
from .problems import Problem

TRAININGS = (("teacher", "finetune"), ("student", "warm_up"), ("distill",))
"""The sections that train."""


def duration_problems(data: dict[str, Any]) -> list[Problem]:
    """Problems of a spec, as plain values, that gives both `epochs` and `max_steps`.

    Only what the spec itself gives counts: `epochs` has a default.
    """
    sweep = data.get("sweep")
    varied = [sweep.get(name) for name in ("axes", "space")] if isinstance(sweep, dict) else []
    paths = [split_path(path) for each in varied if isinstance(each, dict) for path in each]
    problems = []
    for section in TRAININGS:
        given = _section(data, section)
        keys = ("epochs", "max_steps")
        if all(given.get(key) is not None or (*section, key) in paths for key in keys):
            path = join_path((*section, "max_steps"))
            message = "the section gives max_steps and epochs, of which max_steps alone counts"
            problems.append(Problem(path, message, "leave one of them out"))
    return problems


def _section(data: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    here: Any = data
    for key in path:
        here = here.get(key) if isinstance(here, dict) else None
    return here if isinstance(here, dict) else {}
