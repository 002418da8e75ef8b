"""How groups are shown: order, number of rows, and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..spec import Problem, canonical_json, did_you_mean
from ..tracking import Json, Names
from .comparison import Group
from .printed import Leaderboard
from .tables import SINGLE, setting_of
from .versus import lower_is_better

SORTABLE = ("method", "n")


@dataclass(frozen=True)
class View:
    """The options of `flexkd compare`: sort (`-` reverses), limit, columns (with commas), by."""

    sort: str = ""
    limit: int | None = None
    columns: str = ""
    by: str = ""

    @property
    def by_task(self) -> bool:
        """Whether every table has its task, even if there is one."""
        return self.by == "task"

    @property
    def metric(self) -> str:
        """The metric that orders the rows; "" if something else does."""
        return self._key if "/" in self._key else ""

    @property
    def _key(self) -> str:
        return self.sort.removeprefix("-")

    @property
    def _columns(self) -> list[str]:
        return [name.strip() for name in self.columns.split(",") if name.strip()]

    def problems(self, output: str) -> list[Problem]:
        """What is wrong whatever the runs are."""
        found = []
        if self.by not in {"", "task"}:
            found.append(Problem("--by", f"unknown {self.by!r}", "task"))
        if self.columns and output == "json":
            remedy = "leave it out, or give --format csv"
            found.append(Problem("--columns", "JSON always has all columns", remedy))
        return found

    def metrics(self, recorded: Sequence[str]) -> list[str]:
        """The metrics among the columns."""
        return [name for name in self._columns if name in recorded]

    def name_problems(self, names: Names, recorded: Sequence[str]) -> list[Problem]:
        """The names of `--sort` and `--columns` that are neither columns, metrics nor settings."""
        asked: list[tuple[str, str, tuple[str, ...]]] = []
        asked += [("--sort", self._key, SORTABLE)] if self.sort else []
        asked += [("--columns", name, SINGLE) for name in self._columns]
        return [
            problem
            for option, name, fixed in asked
            if name not in (*fixed, *recorded)
            and (problem := _problem(option, name, fixed, names, recorded)) is not None
        ]

    def board(
        self, groups: Sequence[Group], title: str, metrics: Sequence[str], names: Names
    ) -> Leaderboard:
        """The rows that are shown of some groups, which are ranked by their first metric."""
        rows = self._sorted(groups, names) if self.sort else list(groups)
        shown = rows[: self.limit]
        found = {name: names.path(name) for name in self._columns if name not in SINGLE}
        paths = {name: path for name, path in found.items() if path is not None}
        columns = self._columns
        return Leaderboard(title, shown, metrics, columns, paths, len(rows) - len(shown))

    def _sorted(self, groups: Sequence[Group], names: Names) -> list[Group]:
        """The groups in order, those without a value last; ties keep their ranks."""
        values = [(self._value(group, names), group) for group in groups]
        known = [(value, group) for value, group in values if value is not None]
        known.sort(key=lambda pair: _order(pair[0]), reverse=self.sort.startswith("-"))
        return [group for _, group in known] + [group for value, group in values if value is None]

    def _value(self, group: Group, names: Names) -> Json:
        if self._key == "method":
            return group.method
        if self._key == "n":
            return group.n
        if self.metric:
            if self.metric not in group.metrics:
                return None
            mean = group.metrics[self.metric].mean
            return mean if lower_is_better(self.metric) else -mean
        path = names.path(self._key)
        return None if path is None else setting_of(group, path)


def _order(value: Json) -> tuple[float, str]:
    """Numbers by value, before everything else by its text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), ""
    return math.inf, value if isinstance(value, str) else canonical_json(value)


def _problem(
    option: str, name: str, fixed: Sequence[str], names: Names, recorded: Sequence[str]
) -> Problem | None:
    try:
        if names.path(name) is not None:
            return None
    except LookupError as error:
        return Problem(option, f"{name} is ambiguous", f"write one of {error}")
    known = [*fixed, *recorded, *names.settings, *names.all()]
    remedy = did_you_mean(name, known) + f"allowed are {', '.join([*fixed, *recorded])}"
    return Problem(option, f"unknown column {name!r}", f"{remedy}, and settings of the trials")
