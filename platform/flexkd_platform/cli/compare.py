"""`flexkd compare`: runs of all users, aggregated over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..results import group_trials, printed
from ..spec import METHODS, TASK_KINDS, Problem, SpecError, did_you_mean
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
    matching,
    parse_where,
    read_trials,
    shown_uri,
    task_label,
)
from .compare_view import View
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
    recorded = sorted({name for trial in finished for name in trial.metrics})
    problems = _metric_problems(metrics, recorded) + view.name_problems(Names(finished), recorded)
    tasks = _by_task(trials)
    if len(tasks) > 1 and output in FOR_PROGRAMS and not view.by_task:
        message = f"the trials are of {len(tasks)} tasks, and a ranking has one: {'; '.join(tasks)}"
        remedy = "give --by task, or name experiments, or --where 'task=…'"
        problems.append(Problem("--format", message, remedy))
    if problems:
        raise SpecError(problems)
    kept = {trial.group for trial in matching(trials, on_results, job_ids={})}
    boards = []
    for title, ours in tasks.items():
        ranked = _ranking(ours, metrics, output)
        if not ranked:
            continue  # none of its trials finished, or has the metrics
        sorted_by = [view.metric] if view.metric and view.metric not in ranked else []
        extra = [name for name in view.metrics(recorded) if name not in ranked]
        needed = list(dict.fromkeys([*ranked, *extra, *sorted_by]))
        groups = group_trials(ours, baseline=baseline or None, metrics=needed)
        groups = [group for group in groups if group.key in kept]
        if not groups:
            continue
        shown = title if view.by_task or len(tasks) > 1 else ""
        boards.append(view.board(groups, shown, view.metrics(recorded) or ranked, Names(ours)))
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


def _by_task(trials: Sequence[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Trials by the label of their task and data set."""
    found: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        found.setdefault(task_label(trial.settings), []).append(trial)
    return dict(sorted(found.items()))


def _ranking(trials: Sequence[TrialRecord], asked: list[str], output: str) -> list[str]:
    """The metrics that are shown for the trials of one task; the first one ranks."""
    finished = [trial for trial in trials if trial.finished]
    recorded = sorted({name for trial in finished for name in trial.metrics})
    if asked:
        return [name for name in asked if name in recorded]
    ranked = _ranked(_task_metrics(recorded), finished)
    return ranked[:1] if output in {"table", "latex"} else ranked  # one fits a terminal or page


def _task_metrics(recorded: list[str]) -> list[str]:
    """The metrics of the tasks on the test split, or on any split if there are none on test."""
    known = {name for kind in TASK_KINDS.values() for name in kind.metrics}
    ours = [name for name in recorded if name.partition("/")[2] in known]
    return [name for name in ours if name.startswith("test/")] or ours


def _ranked(shown: list[str], trials: Iterable[TrialRecord]) -> list[str]:
    """Metrics in the order in which the trials' tasks list them."""
    tasks = [str(trial.settings.get("task")) for trial in trials]
    kinds = [
        TASK_KINDS[task] for task in (*dict.fromkeys(tasks), *TASK_KINDS) if task in TASK_KINDS
    ]
    order = [name for kind in kinds for name in kind.metrics]
    return sorted(shown, key=lambda name: order.index(name.rpartition("/")[2]))


def _where_problems(where: list[str]) -> list[Problem]:
    try:
        parse_where(where, WHERE)
    except SpecError as error:
        return list(error.problems)
    return []


def _metric_problems(asked: list[str], recorded: list[str]) -> list[Problem]:
    return [
        Problem(
            "--metric",
            f"{name} is recorded in none of the runs",
            did_you_mean(name, recorded) + ", ".join(recorded),
        )
        for name in asked
        if name not in recorded
    ]


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
