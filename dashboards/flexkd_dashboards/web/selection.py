"""Which trials a view is about: fields that pages about trials share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from flexkd_platform.results import kept_groups
from flexkd_platform.spec import Problem, SpecError
from flexkd_platform.tracking import (
    Condition,
    TrialRecord,
    is_result,
    matching,
    parse_where,
    task_label,
)

from .blocks import Note
from .forms import Checks, Field, Text
from .query import Query
from .sources import Trials

MOST_JOBS = 200
"""How many jobs are offered, the newest ones; `where` finds the others."""

NAMES = ("experiment", "task", "user", "job", "from", "to", "where")
"""The parameters of a selection."""


def selection_fields(trials: Trials) -> list[Field]:
    """The fields with what there is to choose."""
    records = trials.records
    return [
        Checks("experiment", "Experiments", _counted(t.experiment for t in records)),
        Checks("task", "Tasks", _counted(task_label(t.settings) for t in records)),
        Checks("user", "People", _counted(user for t in records for user in _users(t))),
        Checks("job", "Jobs", _jobs(trials)),
        Text("from", "Started from", "date"),
        Text("to", "Started until", "date"),
        Text("where", "Where", hint="alpha>=0.1 and method in (flexkd, kd)", wide=True),
    ]


def selected(trials: Trials, query: Query) -> tuple[list[TrialRecord], set[str]]:
    """The trials that a query selects, and the keys of the groups that it shows.

    Conditions on results hide rows, and select no trials: see `kept_groups`.

    Raises:
        SpecError: a condition or a date cannot be read, or names what no trial has.
    """
    conditions = _conditions(query)
    chosen = [trial for trial in trials.records if _is_chosen(trial, query)]
    others = [one for one in conditions if not is_result(one)]
    found = matching(chosen, others, job_ids=trials.job_ids) if chosen else []
    return found, kept_groups(found, conditions) if found else set()


def key_of(query: Query, names: Iterable[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The values of a selection and of further parameters, as a key."""
    return tuple((name, query.all(name)) for name in (*NAMES, *names))


def problem_notes(problems: Sequence[Problem]) -> list[Note]:
    """Problems of a query as sentences; the options of commands are the parameters of a view."""
    return [Note(_sentence(problem), notice=True) for problem in problems]


def stale_notes(trials: Trials) -> list[Note]:
    """What is shown although the tracking store cannot be read now."""
    if not trials.problem:
        return []
    text = f"{trials.problem} What follows was read before; it is read again on the next request."
    return [Note(text, notice=True)]


def _sentence(problem: Problem) -> str:
    place = problem.path.removeprefix("--")
    message = problem.message.split("\n", 1)[0]
    remedy = f" → {problem.remedy}" if problem.remedy else ""
    return f"{place}: {message}{remedy}" if place else f"{message}{remedy}"


def _conditions(query: Query) -> list[Condition]:
    """The condition and the dates of a query.

    Raises:
        SpecError: all that cannot be read.
    """
    problems: list[Problem] = []
    found: list[Condition] = []
    asked = [("where", text) for text in query.all("where")]
    for name, operator in (("from", ">="), ("to", "<=")):
        if day := query.text(name):
            try:
                date.fromisoformat(day)
            except ValueError:
                problems.append(Problem(name, f"{day!r} is no date", "write 2026-11-01"))
            else:
                asked.append((name, f"started{operator}{day}"))
    for name, text in asked:
        try:
            found += parse_where([text], name)
        except SpecError as error:
            problems += error.problems
    if problems:
        raise SpecError(problems)
    return found


def _is_chosen(trial: TrialRecord, query: Query) -> bool:
    of_trial: dict[str, Sequence[str]] = {
        "experiment": (trial.experiment,),
        "user": _users(trial),
        "job": trial.jobs,
        "task": (task_label(trial.settings),) if query.has("task") else (),
    }
    return all(
        not (wanted := query.all(name)) or not set(wanted).isdisjoint(found)
        for name, found in of_trial.items()
    )


def _users(trial: TrialRecord) -> Sequence[str]:
    return trial.users or (trial.user,)


def _counted(values: Iterable[str]) -> dict[str, str]:
    """Each value with how many trials have it."""
    return {value: f"{value or 'none'} ({n:,})" for value, n in sorted(Counter(values).items())}


def _jobs(trials: Trials) -> Mapping[str, str]:
    """The newest jobs, hash → id."""
    counts: Counter[str] = Counter()
    newest: dict[str, float] = {}
    for trial in trials.records:
        counts.update(trial.jobs)
        for job in trial.jobs:
            newest[job] = max(newest.get(job, 0.0), trial.started)
    latest = sorted(newest, key=lambda job: -newest[job])[:MOST_JOBS]
    return {job: f"{trials.job_ids.get(job, job[:12])} ({counts[job]:,})" for job in latest}
