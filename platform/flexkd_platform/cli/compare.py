"""`flexkd compare`: runs of all users, aggregated over seeds."""

from __future__ import annotations

from dataclasses import dataclass

from ..results import (
    View,
    by_task,
    kept_groups,
    leaderboards,
    metric_problems,
    printed,
    recorded_metrics,
)
from ..spec import METHODS, Problem, SpecError, did_you_mean
from ..store import StoreError, absolute_location
from ..tracking import (
    TRACKING_OPTION,
    Condition,
    Names,
    TrialRecord,
    UnreadableStoreError,
    absolute_uri,
    check_form,
    check_tracking,
    default_uri,
    is_result,
    parse_where,
    read_trials,
    shown_uri,
)
from .console import out

FORMATS = ("table", "markdown", "latex", "csv", "json")
FOR_PROGRAMS = ("csv", "json")
WHERE = "--where"


@dataclass(frozen=True)
class _Request:
    """What is read and how it is shown, after its own problems were reported."""

    uri: str
    experiments: list[str]
    job: str
    user: str
    where: list[Condition]
    refresh: bool


def compare(
    experiments: list[str],
    *,
    job: str,
    user: str,
    where: list[str],
    metrics: list[str],
    baseline: str,
    view: View,
    refresh: bool,
    output: str,
    tracking: str,
    storage: str,
) -> int:
    """Print the groups of some experiments' trials, best first, a table for each task."""
    uri, problems = _tracking_uri(tracking, storage)
    problems = [
        *problems,
        *_argument_problems(baseline, output, tracking),
        *view.problems(output),
        *_where_problems(where),
    ]
    if problems:
        raise SpecError(problems)
    conditions = parse_where(where, WHERE)
    # Results select rows of the finished table: the correction is for all of its comparisons.
    on_results = [one for one in conditions if is_result(one)]
    others = [one for one in conditions if not is_result(one)]
    trials = _read(_Request(uri, experiments, job, user, others, refresh))
    finished = [trial for trial in trials if trial.finished]
    if not finished:
        message = f"no finished trial in {shown_uri(uri)}"
        if where or user:
            raise SpecError([Problem("", f"{message} matches", "ask for less")])
        raise SpecError([Problem("", message, "run a job first")])
    recorded = recorded_metrics(finished)
    problems = metric_problems(metrics, recorded) + view.name_problems(Names(finished), recorded)
    tasks = by_task(trials)
    if len(tasks) > 1 and output in FOR_PROGRAMS and not view.by_task:
        message = f"the trials are of {len(tasks)} tasks, and a ranking has one: {'; '.join(tasks)}"
        remedy = "give --by task, or name experiments, or --where 'task=…'"
        problems.append(Problem("--format", message, remedy))
    if problems:
        raise SpecError(problems)
    boards = leaderboards(
        trials,
        view,
        asked=metrics,
        baseline=baseline or None,
        kept=kept_groups(trials, on_results),
        most=1 if output in {"table", "latex"} else None,  # one fits a terminal or page
    )
    if not boards and on_results:
        raise SpecError([Problem("", f"no group in {shown_uri(uri)} matches", "ask for less")])
    if not boards:
        remedy = f"name one with --metric: {', '.join(recorded)}"
        raise SpecError([Problem("", "the trials have no metric of a task", remedy)])
    if output == "table" and out.is_terminal:
        for board in boards:
            out.print(board.rich())
    else:
        print(printed(boards, output, by_task=view.by_task))
    return 0


def _tracking_uri(given: str, storage: str) -> tuple[str, list[Problem]]:
    """The resolved tracking URI and the problems of its form; reading it finds the others."""
    try:
        uri = absolute_uri(given) if given else default_uri(absolute_location(storage))
    except StoreError as error:
        return given, [Problem("--storage", str(error), "correct it, or give --tracking-uri")]
    except ValueError as error:
        return given, [Problem(TRACKING_OPTION, str(error), "give --tracking-uri")]
    # A server that is down would be waited for; a database is read without MLflow.
    remote = uri.startswith(("http://", "https://"))
    return uri, check_tracking(uri) if remote else check_form(uri)


def _read(request: _Request) -> list[TrialRecord]:
    try:
        return read_trials(
            request.uri,
            experiments=request.experiments or None,
            job=request.job or None,
            user=request.user or None,
            where=request.where,
            refresh=request.refresh,
        )
    except UnreadableStoreError as error:
        message = f"{shown_uri(request.uri)} cannot be read: {error}"
        found = check_tracking(request.uri)
        raise SpecError(found or [Problem(TRACKING_OPTION, message)]) from None
    except SpecError:
        raise
    except ValueError as error:
        raise SpecError([Problem("", str(error), "name another experiment or job")]) from None


def _where_problems(where: list[str]) -> list[Problem]:
    try:
        parse_where(where, WHERE)
    except SpecError as error:
        return list(error.problems)
    return []


def _argument_problems(baseline: str, output: str, tracking: str) -> list[Problem]:
    problems = []
    if tracking == "none":
        remedy = "name the one that the jobs were recorded in"
        problems.append(Problem(TRACKING_OPTION, "compare needs a server or database", remedy))
    for option, what, given, known in (
        ("--baseline", "method", baseline, tuple(METHODS)),
        ("--format", "format", output, FORMATS),
    ):
        if given and given not in known:
            remedy = did_you_mean(given, known) + ", ".join(known)
            problems.append(Problem(option, f"unknown {what} {given!r}", remedy))
    return problems
