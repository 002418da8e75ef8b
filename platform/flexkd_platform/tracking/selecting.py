"""Select trials by conditions: which names there are, and which trials match."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ..spec import Problem, SpecError, did_you_mean
from .records import SYMBOLS, Json, TrialRecord
from .where import Comparison
from .where_values import holds, starts

Values = Callable[[TrialRecord], Sequence[Json]]
"""What a trial has of a name: nothing, one value, or several of which one must match."""

DATE = "started"
FIELDS: dict[str, Values] = {
    "method": lambda trial: [trial.method],
    "seed": lambda trial: [trial.seed],
    "status": lambda trial: [trial.status],
    "task": lambda trial: _task_names(trial.settings),
    "user": lambda trial: trial.users or [trial.user],
    "experiment": lambda trial: [trial.experiment],
    "job": lambda trial: trial.jobs,
    "hash": lambda trial: [trial.hash],
    "run": lambda trial: [trial.run_id],
    "seconds": lambda trial: [trial.seconds],
    "reason": lambda trial: [trial.reason],
    DATE: lambda trial: [trial.started],
}
"""The fields that conditions can name."""

FILES = "files"
"""The name of every data set of files: their fingerprint tells them apart."""

NEEDS_ORDER = {"<", "<=", ">", ">="}


def matching(
    trials: Sequence[TrialRecord],
    comparisons: Sequence[Comparison],
    *,
    job_ids: Mapping[str, str],
) -> list[TrialRecord]:
    """The trials that all comparisons hold for.

    Args:
        job_ids: hash → id of jobs, which a condition on `job` can name, too.

    Raises:
        SpecError: a name is unknown or ambiguous, or its values cannot be compared so.
    """
    if not comparisons:
        return list(trials)
    names = Names(trials)
    problems = [p for one in comparisons if (p := _problem(one, names)) is not None]
    if problems:
        raise SpecError(problems)
    for one in comparisons:
        values = names.values(one.name)
        if one.name == "job":
            values = _with_ids(job_ids)
        if not is_result(one):
            trials = [trial for trial in trials if _matches(trial, one, values)]
    for one in filter(is_result, comparisons):
        means = _group_means(trials, names.values(one.name))
        held = {group for group, mean in means.items() if holds(mean, one.operator, one.values)}
        trials = [trial for trial in trials if trial.group in held]
    return list(trials)


def is_result(comparison: Comparison) -> bool:
    """Whether a comparison names what a trial resulted in, and not what it was.

    Metrics are named `split/metric`; settings have dots in their paths.
    """
    name = comparison.name
    return name == "seconds" or ("/" in name and not name.startswith("tags."))


def _group_means(trials: Sequence[TrialRecord], values: Values | None) -> dict[str, list[Json]]:
    """Group → the mean over its finished trials; [] unless each has one.

    A condition on single trials would pick the seeds with good results.
    """
    assert values is not None, "unknown names were reported"
    found: dict[str, list[Json]] = {trial.group: [] for trial in trials}
    missing: set[str] = set()
    for trial in trials:
        if trial.finished:
            numbers = values(trial)
            found[trial.group] += numbers
            missing |= set() if numbers else {trial.group}
    return {
        group: [math.fsum(numbers) / len(numbers)] if numbers and group not in missing else []  # type: ignore[arg-type]
        for group, numbers in found.items()
    }


class Names:
    """The names that conditions and columns can have, over some trials."""

    def __init__(self, trials: Sequence[TrialRecord]) -> None:
        self.metrics = {name: None for trial in trials for name in trial.metrics}
        self.tags = {name: None for trial in trials for name in trial.tags}
        self.params = {path: None for trial in trials for path in trial.params}
        by_group = {trial.group: trial for trial in trials}
        self.settings = {path: None for trial in by_group.values() for path in trial.settings}

    def values(self, name: str) -> Values | None:
        """What trials have of a name; None if it is unknown.

        Raises:
            LookupError: it is the end of several settings, which the error lists.
        """
        if name in FIELDS:
            return FIELDS[name]
        if name in self.metrics:
            return lambda trial: _of(trial.metrics, name)
        if name.startswith("tags.") and name[5:] in self.tags:
            return lambda trial: _of(trial.tags, name[5:])
        path = self.path(name)
        return None if path is None else lambda trial: setting(trial, path)

    def path(self, name: str) -> str | None:
        """The setting with this path, symbol or end; None if there is none.

        Raises:
            LookupError: it is the end of several.
        """
        name = {symbol: word for word, symbol in SYMBOLS.items()}.get(name, name)
        known = {**self.params, **self.settings}
        if name in known:
            return name
        ends = [path for path in known if path.endswith(f".{name}")]
        # What a table shows as `learning_rate` is the one that jobs vary.
        ours = [path for path in ends if path in self.params] or [
            path for path in ends if path == f"method.{name}"
        ]
        if len(ours or ends) > 1:
            raise LookupError(", ".join(sorted(ours or ends)))
        return next(iter(ours or ends), None)

    def all(self) -> list[str]:
        """Every name, with the ends of settings."""
        ends = {path.rpartition(".")[2]: None for path in {**self.params, **self.settings}}
        tags = [f"tags.{name}" for name in self.tags]
        return [*FIELDS, *self.metrics, *ends, *self.params, *self.settings, *tags]


def setting(trial: TrialRecord, path: str) -> list[Json]:
    """The value of a setting or param of a trial; [] if it has none."""
    return _of(trial.settings, path) or _of(trial.params, path)


def task_label(settings: Mapping[str, Json]) -> str:
    """The task and its data set, for people: `classification, movie-reviews`."""
    return ", ".join(str(value) for value in _task_names(settings))


def _task_names(settings: Mapping[str, Json]) -> list[Json]:
    name = settings.get("dataset.name")
    if name == FILES:
        name = f"{FILES} {str(settings.get('dataset.fingerprint'))[:8]}"
    found = [settings.get("task"), name, settings.get("dataset.config")]
    return [value for value in found if value is not None]


def _of(values: Mapping[str, Json], name: str) -> list[Json]:
    return [values[name]] if name in values else []


def _with_ids(job_ids: Mapping[str, str]) -> Values:
    return lambda trial: [name for job in trial.jobs for name in (job, *_of(job_ids, job)) if name]


def _matches(trial: TrialRecord, one: Comparison, values: Values | None) -> bool:
    assert values is not None, "unknown names were reported"
    if one.name == DATE:
        return starts(trial.started, one.operator, one.values)
    return holds(values(trial), one.operator, one.values)


def _problem(one: Comparison, names: Names) -> Problem | None:
    try:
        known = names.values(one.name)
    except LookupError as error:
        message = f"{one.name} is ambiguous"
        return one.problem(message, f"write one of {error}")
    if known is None:
        remedy = did_you_mean(one.name, names.all()) + f"Fields: {', '.join(FIELDS)}; metrics, "
        remedy += "settings by path or its end, and tags.NAME of the trials that are recorded"
        message = f"no trial has {one.name!r}"
        return one.problem(message, remedy)
    if one.name == DATE:
        wrong = [value.text for value in one.values if value.period is None]
        remedy = "give a date as 2026-11-01, or a time as 2026-11-01T14:30"
        wrong += ["~"] if one.operator == "~" else []
    else:
        ordered = one.operator in NEEDS_ORDER
        wrong = [v.text for v in one.values if ordered and math.isnan(v.number)]
        remedy = "compare texts with =, !=, ~, in and not in"
    if not wrong:
        return None
    message = f"{one.name} {one.operator} {', '.join(map(repr, wrong))} is not comparable"
    return one.problem(message, remedy)
