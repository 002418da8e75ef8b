"""Choose by the validation split: the points of a search, and the trials that continue.

The test split is never used to choose, only to compare the chosen points.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..executors import Halving
from ..plan import Plan, TrainingRecipe, epoch_rows
from ..results.comparison import Group, group_trials, to_json
from ..results.versus import lower_is_better
from ..spec import Asha, GridSearch, JobSpec, Metric, OptunaSearch, Problem
from ..store import Store
from ..tracking import TrialRecord

if TYPE_CHECKING:
    from .rounds import Asked, Verdict


def search_problems(spec: JobSpec, train_rows: int | None) -> Iterator[Problem]:
    """Report metrics that validation does not have, and a scheduler that would never stop a trial.

    train_rows: the number of training examples; None if unknown.
    """
    search, scheduler = spec.sweep.search, spec.sweep.scheduler
    if isinstance(search, OptunaSearch):
        yield from _metric_problems(spec, search.metric, "sweep.search.metric")
    if not isinstance(scheduler, Asha):
        return
    yield from _metric_problems(spec, scheduler.metric, "sweep.scheduler.metric")
    if train_rows is not None:
        recipe, rows = TrainingRecipe.of(spec.distill, 0), epoch_rows(spec.student, train_rows)
        per_epoch, total = recipe.epoch_steps(rows), recipe.total_steps(rows)
        last = (total - 1) // per_epoch * per_epoch
        if last < scheduler.grace_steps:
            measured = f"last evaluated at step {last} before" if last else "evaluated only at"
            yield Problem(
                "sweep.scheduler.grace_steps",
                f"{scheduler.grace_steps}, but a trial is {measured} its end, step {total}, so "
                "none would be stopped",
                f"set grace_steps to {last} or less"
                if last
                else "train for more than one epoch, or leave sweep.scheduler out",
            )


def _metric_problems(spec: JobSpec, metric: Metric | None, path: str) -> Iterator[Problem]:
    known = spec.task.validation_metrics()
    if metric is not None and metric not in known:
        yield Problem(
            path,
            f"{metric} is not a validation metric of {spec.task.kind}",
            f"allowed: {', '.join(known)}",
        )


def validation_metric(spec: JobSpec, named: Metric | None) -> str:
    """The metric to choose by, for example `validation/accuracy`."""
    return f"validation/{named or spec.task.validation_metric}"


def halving_of(spec: JobSpec) -> Halving | None:
    """The early stopping settings of a spec; None if all trials train to their end."""
    scheduler = spec.sweep.scheduler
    if not isinstance(scheduler, Asha):
        return None
    metric = validation_metric(spec, scheduler.metric)
    return Halving(
        metric, lower_is_better(metric), scheduler.grace_steps, scheduler.reduction_factor
    )


def verdicts(
    asked: Iterable[Asked], metrics: Mapping[str, Mapping[str, float] | None], metric: str
) -> Iterator[tuple[Asked, Verdict]]:
    """The verdict of each point: its mean over all seeds, signed so that higher is better.

    A point without all its seeds has no mean: it would only count the successful ones.

    metrics: of each trial; empty if the trial failed, None if it was pruned.
    """
    for one in asked:
        found = [metrics[digest] for digest in one.trials]
        values = [math.nan if each is None else each.get(metric, math.nan) for each in found]
        if None in found:
            yield one, "pruned"
        elif not all(map(math.isfinite, values)):
            yield one, "failed"
        else:
            mean = math.fsum(values) / len(values)
            yield one, -mean if lower_is_better(metric) else mean


def nothing_left(plan: Plan, store: Store, pruned: Collection[str]) -> bool:
    """Whether all steps are published (for a search, of all rounds), except for pruned trials."""
    if plan.search is None:
        return _all_there(plan, store, pruned)
    # Optuna takes half a second to import, so other jobs do not import it.
    from .rounds import Rounds

    rounds = Rounds(plan.search)
    metric = validation_metric(plan.spec, plan.search.settings.metric)
    while asked := rounds.ask():
        grown = rounds.plan()
        if not _all_there(grown, store, pruned):
            return False
        metrics = {
            # All but pruned trials have both; one stopped before its test has only a student.
            trial.hash: store.manifest(trial.distill).summary["metrics"]
            if store.has(trial.distill) and store.has(trial.evaluate)
            else None
            for trial in grown.trials
        }
        rounds.tell(verdicts(asked, metrics, metric))
    return True


def _all_there(plan: Plan, store: Store, pruned: Collection[str]) -> bool:
    kept = [trial for trial in plan.trials if trial.hash not in pruned]
    own = [step for trial in kept for step in (trial.distill, trial.evaluate)]
    return all(store.has(step) for step in (*plan.shared, *own))


def chosen(plan: Plan, records: Sequence[TrialRecord]) -> list[Group]:
    """The best point of each method on the validation split, the best method first.

    Only points that finished with every seed are candidates.
    """
    search = plan.spec.sweep.search
    named = search.metric if isinstance(search, OptunaSearch) else None
    metric = validation_metric(plan.spec, named)
    groups = group_trials(records, baseline=None, metrics=[metric])
    best: dict[str, Group] = {}
    for group in groups:
        if group.n == len(plan.spec.sweep.seeds) and metric in group.metrics:
            best.setdefault(group.method, group)
    return list(best.values())


def winner(plan: Plan, records: Sequence[TrialRecord]) -> Group | None:
    """The group with the best mean on validation; its `metrics` has that metric alone.

    None if the sweep has one group or one seed, or no group that finished with every seed.
    """
    if len(plan.spec.sweep.seeds) < 2 or len({record.group for record in records}) < 2:
        return None
    return next(iter(chosen(plan, records)), None)


def winner_json(plan: Plan, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """`winner` of `results.json`; {} if there is none.

    `chosen_by` chose it, and `reported_by` is what it is compared by: the test split has no part in
    the choice.
    """
    group = winner(plan, records)
    if group is None:
        return {}
    ((metric, summary),) = group.metrics.items()
    return {
        "winner": {
            "method": group.method,
            "params": dict(group.params),
            "n": group.n,
            "chosen_by": metric,
            "mean": summary.mean,
            "std": summary.std,
            "reported_by": plan.spec.metric_names[0],
        }
    }


def search_json(plan: Plan, records: Sequence[TrialRecord]) -> dict[str, Any]:
    """`search` of `results.json`: the search settings and space, the points that are not allowed,
    and the points chosen by validation; {} for a grid.
    """
    search, space = plan.spec.sweep.search, plan.spec.sweep.space
    if isinstance(search, GridSearch):
        return {}
    named = search.metric if isinstance(search, OptunaSearch) else None
    keys = ("method", "params", "n", "metrics")
    return {
        "search": {
            **search.to_json(),
            "metric": validation_metric(plan.spec, named),
            "space": {path: drawn.to_json() for path, drawn in space.items()},
            "refused": [each.to_json() for each in plan.refused],
            "best": [{key: to_json(group)[key] for key in keys} for group in chosen(plan, records)],
        }
    }
