"""Trials as leaderboards: one for each task, since a ranking has one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..spec import TASK_KINDS, Problem, did_you_mean
from ..tracking import Condition, Names, TrialRecord, is_result, matching, task_label
from .comparison import Group, group_trials
from .order import View
from .printed import Leaderboard


def by_task(trials: Iterable[TrialRecord]) -> dict[str, list[TrialRecord]]:
    """Trials by the label of their task and data set."""
    found: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        found.setdefault(task_label(trial.settings), []).append(trial)
    return dict(sorted(found.items()))


def recorded_metrics(trials: Iterable[TrialRecord]) -> list[str]:
    """The names of the metrics that finished trials have."""
    return sorted({name for trial in trials if trial.finished for name in trial.metrics})


def metric_problems(asked: Iterable[str], recorded: Sequence[str]) -> list[Problem]:
    """The metrics that are asked for and that no trial has."""
    return [
        Problem(
            "--metric",
            f"{name} is recorded in none of the runs",
            did_you_mean(name, recorded) + ", ".join(recorded),
        )
        for name in asked
        if name not in recorded
    ]


def ranking(trials: Sequence[TrialRecord], asked: Sequence[str] = ()) -> list[str]:
    """The metrics that are shown for the trials of one task; the first one ranks.

    asked: those that are wanted; by default those of the task on the test split.
    """
    recorded = recorded_metrics(trials)
    if asked:
        return [name for name in asked if name in recorded]
    return _ranked(_task_metrics(recorded), [trial for trial in trials if trial.finished])


def kept_groups(trials: Sequence[TrialRecord], conditions: Iterable[Condition]) -> set[str]:
    """The keys of the groups that conditions on results keep.

    They select rows of the finished table: the correction is for all of its comparisons.
    """
    on_results = [one for one in conditions if is_result(one)]
    return {trial.group for trial in matching(trials, on_results, job_ids={})}


def leaderboards(
    trials: Sequence[TrialRecord],
    view: View,
    *,
    asked: Sequence[str] = (),
    baseline: str | None,
    kept: Collection[str],
    most: int | None = None,
) -> list[Leaderboard]:
    """A leaderboard for each task of which a trial finished and has the metrics.

    Args:
        asked: metrics; by default those of each task, `most` of them.
        kept: keys of the groups that are shown, as of `kept_groups`.
    """
    tasks, recorded = by_task(trials), recorded_metrics(trials)
    boards = []
    for title, ours in tasks.items():
        ranked = ranking(ours, asked)
        ranked = ranked if asked else ranked[:most]
        if not ranked:
            continue  # none of its trials finished, or has the metrics
        groups = _groups(ours, view, ranked, baseline)
        groups = [group for group in groups if group.key in kept]
        if groups:
            shown = title if view.by_task or len(tasks) > 1 else ""
            boards.append(view.board(groups, shown, view.metrics(recorded) or ranked, Names(ours)))
    return boards


def _groups(
    trials: Sequence[TrialRecord], view: View, metrics: Sequence[str], baseline: str | None
) -> list[Group]:
    """The groups of one task, with the metrics that order the rows and that are columns too."""
    sorted_by = [view.metric] if view.metric else []
    needed = dict.fromkeys([*metrics, *view.metrics(recorded_metrics(trials)), *sorted_by])
    return group_trials(trials, baseline=baseline, metrics=list(needed))


def _task_metrics(recorded: Sequence[str]) -> list[str]:
    """The metrics of the tasks on the test split, or on any split if there are none on test."""
    known = {name for kind in TASK_KINDS.values() for name in kind.metrics}
    ours = [name for name in recorded if name.partition("/")[2] in known]
    return [name for name in ours if name.startswith("test/")] or ours


def _ranked(shown: Iterable[str], trials: Iterable[TrialRecord]) -> list[str]:
    """Metrics in the order in which the trials' tasks list them."""
    tasks = [str(trial.settings.get("task")) for trial in trials]
    kinds = [
        TASK_KINDS[task] for task in (*dict.fromkeys(tasks), *TASK_KINDS) if task in TASK_KINDS
    ]
    order = [name for kind in kinds for name in kind.metrics]
    return sorted(shown, key=lambda name: order.index(name.rpartition("/")[2]))
