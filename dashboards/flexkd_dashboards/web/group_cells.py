"""How groups of trials look in a table: colours of differences, and links to their trials."""

from __future__ import annotations

from flexkd_core.statistics import Comparison
from flexkd_platform.results import Group
from flexkd_platform.results.tables import Column
from flexkd_platform.results.versus import lower_is_better

from .query import Query, url
from .selection import NAMES

SHORT_KEY = 16
"""Characters of a group's key in links."""


def tone(group: Group, column: Column) -> str:
    """`better` or `worse` for a difference that is distinguishable from 0, else no colour."""
    if column.kind != "versus":
        return ""
    return comparison_tone(column.metric, (group.versus or {}).get(column.metric))


def comparison_tone(metric: str, found: Comparison | None) -> str:
    """`better` or `worse` if the difference survives the correction, else ""."""
    if found is None or found.verdict != "distinguishable":
        return ""
    return "worse" if (found.mean > 0) == lower_is_better(metric) else "better"


def group_link(group: Group, query: Query) -> str:
    """The training curves of a group, of the same selection."""
    kept = [(name, value) for name in NAMES for value in query.all(name)]
    return url("curves", [*kept, ("group", group.key[:SHORT_KEY])])


def falls(metric: str) -> bool:
    """Whether a column of a metric that begins with the best value falls."""
    return bool(metric) and not lower_is_better(metric)
