"""`flexkd compare`: runs of all users, aggregated over seeds."""

from __future__ import annotations

from collections.abc import Iterable

from ..results import group_trials, leaderboard
from ..spec import METHODS, TASK_KINDS, Problem, SpecError
from ..tracking import TrialRecord, read_trials, shown_uri
from .common import tracking_uri
from .console import out

FORMATS = ("table", "markdown", "csv", "json")


def compare(
    experiments: list[str],
    *,
    job: str,
    user: str,
    metrics: list[str],
    baseline: str,
    output: str,
    tracking: str,
    storage: str,
) -> int:
    """Print the groups of some experiments' trials, best first."""
    uri, problems = tracking_uri(tracking, storage)
    problems = [*problems, *_argument_problems(baseline, output, tracking)]
    if problems:
        raise SpecError(problems)
    try:
        trials = read_trials(
            uri, experiments=experiments or None, job=job or None, user=user or None
        )
    except ValueError as error:
        raise SpecError([Problem("", str(error), "name another experiment or job")]) from None
    finished = [trial for trial in trials if trial.status in {"done", "reused"}]
    if not finished:
        raise SpecError([Problem("", f"no finished trial in {shown_uri(uri)}", "run a job first")])
    recorded = sorted({name for trial in finished for name in trial.metrics})
    shown = metrics or _task_metrics(recorded)
    unknown = [name for name in shown if name not in recorded]
    if unknown:
        raise SpecError(
            [
                Problem("--metric", f"{name} is recorded in none of the runs", ", ".join(recorded))
                for name in unknown
            ]
        )
    ranked = _ranked(shown, metrics, finished)
    if output == "table" and not metrics:
        ranked = ranked[:1]  # one metric fits a terminal
    groups = group_trials(trials, baseline=baseline or None, metrics=ranked)
    table = leaderboard(groups, metrics=ranked, format=output)  # type: ignore[call-overload]
    if output == "table":
        out.print(table)
    else:
        print(table)
    return 0


def _task_metrics(recorded: list[str]) -> list[str]:
    """The metrics of the tasks on the test split, or on any split if there are none on test."""
    known = {name for kind in TASK_KINDS.values() for name in kind.metrics}
    ours = [name for name in recorded if name.partition("/")[2] in known]
    return [name for name in ours if name.startswith("test/")] or ours


def _ranked(shown: list[str], asked: list[str], trials: Iterable[TrialRecord]) -> list[str]:
    """The requested metrics; otherwise in the order in which the trials' tasks list them."""
    if asked:
        return asked
    tasks = [str(trial.settings.get("task")) for trial in trials]
    kinds = [TASK_KINDS[task] for task in (*tasks, *TASK_KINDS) if task in TASK_KINDS]
    order = [name for kind in kinds for name in kind.metrics]
    return sorted(shown, key=lambda name: order.index(name.rpartition("/")[2]))


def _argument_problems(baseline: str, output: str, tracking: str) -> list[Problem]:
    problems = []
    if tracking == "none":
        remedy = "name the one that the jobs were recorded in"
        problems.append(Problem("--tracking-uri", "compare needs a server or database", remedy))
    if baseline and baseline not in METHODS:
        problems.append(Problem("--baseline", f"unknown method {baseline!r}", ", ".join(METHODS)))
    if output not in FORMATS:
        problems.append(Problem("--format", f"unknown format {output!r}", ", ".join(FORMATS)))
    return problems
