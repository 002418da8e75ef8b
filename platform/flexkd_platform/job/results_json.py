"""`results.json`: the steps, trials and results of a job, in a stable format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..artifacts import read_units
from ..plan import DatasetConfig, EvaluateConfig, Plan, SelectConfig, Step, with_config
from ..results.comparison import Group, group_trials, to_json
from ..results.example_scores import ExampleScores
from ..results.versus import lower_is_better
from ..search.choosing import search_json, winner_json
from ..store import Store
from ..tracking import TrackedJob, TrialRecord
from ..tracking.records import in_order

StepStatus = Literal["ran", "reused", "failed"]
JobState = Literal["running", "done", "failed", "interrupted"]


@dataclass(frozen=True)
class StepOutcome:
    """How a step ended. seconds: its run time, also of an earlier run. reason: why it failed."""

    step: Step
    status: StepStatus
    seconds: float
    reason: str = ""


@dataclass
class Outcome:
    """The state of a running or finished job.

    user: who runs it.
    began: when this attempt began, in ISO 8601.
    tracked: where it is recorded, once its run has started.
    """

    plan: Plan
    status: JobState = "running"
    seconds: float = 0.0
    steps: dict[str, StepOutcome] = field(default_factory=dict)
    trials: dict[str, TrialRecord] = field(default_factory=dict)
    user: str = ""
    began: str = ""
    tracked: TrackedJob | None = None
    _examples: ExampleScores | None = None
    _evaluations: dict[str, Step[EvaluateConfig]] = field(default_factory=dict)

    @property
    def records(self) -> list[TrialRecord]:
        """The trials that ended, in the order of the plan."""
        return [self.trials[t.hash] for t in self.plan.trials if t.hash in self.trials]

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics to compare, for example `test/accuracy`; the first one is for ranking."""
        return self.plan.spec.metric_names

    def groups(self, store: Store) -> list[Group]:
        """The trials by method and settings, best first.

        store: holds the predictions, whose noise the intervals include once the job has ended.
        While it runs they are over seeds alone: results are written after every trial.
        """
        self._evaluations |= {trial.hash: trial.evaluate for trial in self.plan.trials}
        if self._examples is None:
            self._examples = ExampleScores(partial(self._predictions, store))
        spec = self.plan.spec
        return group_trials(
            self.records,
            baseline=spec.sweep.baseline,
            metrics=self.metric_names,
            examples=None if self.status == "running" else self._examples,
            stochastic_order=spec.evaluate.stochastic_order,
        )

    def _predictions(self, store: Store, record: TrialRecord, name: str) -> Path | None:
        """The predictions of a trial on a split or set."""
        step = self._evaluations[record.hash]
        suffix = "" if name == step.config.split else f"-{name}"
        return store.file(step, f"predictions{suffix}.parquet") if store.has(step) else None


def results_json(outcome: Outcome, store: Store) -> dict[str, Any]:
    """The content of `results.json`."""
    spec = outcome.plan.spec
    trained = _parameters_json(outcome.plan, store)
    groups = outcome.groups(store)
    evaluations = {trial.hash: trial.evaluate.hash for trial in outcome.plan.trials}
    return {
        "job": {
            "name": spec.name,
            "id": spec.id,
            "spec_hash": spec.hash,
            "status": outcome.status,
            "seconds": round(outcome.seconds, 3),
            "user": outcome.user,
            "began": outcome.began,
            "tracking": None if outcome.tracked is None else asdict(outcome.tracked),
        },
        "steps": [_step_json(entry) for entry in outcome.steps.values()],
        "teacher": teacher_json(outcome.plan, store) | _no_worse_json(outcome, groups, store),
        "selection": _selection_json(outcome.plan.shared, store),
        "trials": [
            _trial_json(record, evaluations[record.hash]) | trained.get(record.hash, {})
            for record in outcome.records
        ],
        "groups": [to_json(group) for group in groups],
        **winner_json(outcome.plan, outcome.records),
        **texts_json(outcome.plan, store),
        **data_json(outcome.plan, store),
        "datasets": _datasets_json(outcome.plan, store),
        **search_json(outcome.plan, outcome.records),
    }


def _step_json(entry: StepOutcome) -> dict[str, Any]:
    known = {
        "kind": entry.step.kind,
        "hash": entry.step.hash,
        "status": entry.status,
        "seconds": round(entry.seconds, 3),
    }
    return {**known, "reason": entry.reason} if entry.reason else known


DATA_COUNTS = (
    *("skipped", "dropped", "also_in_train", "also_in_test"),
    *("nearly_in_train", "nearly_in_test"),
)
"""Numbers of rows that are not used, and of examples that another split has too."""


def data_json(plan: Plan, store: Store) -> dict[str, Any]:
    """`data`: each split and evaluation set with its examples and `DATA_COUNTS`.

    {} if no row is left out, no split shares examples with another and the data are no mixture. If
    an axis creates several data sets, those of the first.
    """
    found: dict[str, Any] = {}
    for step in with_config(plan.shared, DatasetConfig):
        if not store.has(step):
            continue
        name = step.config.evaluation_set
        for split, profile in store.manifest(step).summary.items():
            known = {key: profile[key] for key in DATA_COUNTS if profile.get(key)}
            if "origins" in profile:
                known["origins"] = profile["origins"]
            found.setdefault(split if name is None else name, {"rows": profile["rows"], **known})
    return {"data": found} if any(len(entry) > 1 for entry in found.values()) else {}


def _datasets_json(plan: Plan, store: Store) -> dict[str, dict[str, int]]:
    """Name → examples of each split, of every data set and evaluation set."""
    return {
        step.config.evaluation_set or step.config.name: in_order(
            {split: profile["rows"] for split, profile in store.manifest(step).summary.items()}
        )
        for step in with_config(plan.shared, DatasetConfig)
        if store.has(step)
    }


def teacher_json(plan: Plan, store: Store) -> dict[str, Any]:
    """The spec's teacher; the first if an axis creates several. {} until it is published."""
    teacher = plan.teachers[0]
    if not store.has(teacher):
        return {}
    summary: Mapping[str, Any] = store.manifest(teacher).summary
    metrics = dict(summary["metrics"])
    for evaluation in plan.teacher_evaluations:
        if evaluation.config.model.hash == teacher.hash and store.has(evaluation):
            metrics |= store.manifest(evaluation).summary["metrics"]
    return {"parameters": summary["parameters"], "metrics": metrics}


def no_worse_than_teacher(outcome: Outcome, groups: Sequence[Group], store: Store) -> list[Group]:
    """The groups whose mean of the ranking metric is as good as the teacher's, or better.

    Empty if the teacher has no such metric, or an axis creates several teachers.
    """
    metric = outcome.metric_names[0]
    theirs = teacher_json(outcome.plan, store).get("metrics", {}).get(metric)
    if theirs is None or len(outcome.plan.teachers) > 1:
        return []
    sign = -1 if lower_is_better(metric) else 1
    return [
        group
        for group in groups
        if metric in group.metrics and sign * (group.metrics[metric].mean - theirs) >= 0
    ]


def _no_worse_json(outcome: Outcome, groups: Sequence[Group], store: Store) -> dict[str, Any]:
    """`no_worse`: the groups of `no_worse_than_teacher`; {} if there are none."""
    found = no_worse_than_teacher(outcome, groups, store)
    named = [{"method": group.method, "params": dict(group.params)} for group in found]
    return {"no_worse": named} if named else {}


def texts_json(plan: Plan, store: Store) -> dict[str, Any]:
    """`texts`: how many texts of each split and set are truncated, and what ROUGE reads as words.

    Lengths are those of the spec's teacher, of an evaluation for the other sets. Empty until they
    are known.
    """
    steps: list[Step] = [*plan.teachers[:1], *plan.teacher_evaluations]
    # One trial's evaluation is enough: all have the same sets.
    steps += [trial.evaluate for trial in plan.trials if store.has(trial.evaluate)][:1]
    lengths: dict[str, Any] = {}
    rules: dict[str, str] = {}
    for step in steps:
        if not store.has(step):
            continue
        summary = store.manifest(step).summary
        lengths = summary.get("lengths", {}) | lengths
        rules = summary.get("rouge_tokenizer", {}) | rules
    found = {"lengths": lengths, "rouge_tokenizer": rules}
    found = {name: value for name, value in found.items() if value}
    return {"texts": found} if found else {}


def _selection_json(steps: Sequence[Step], store: Store) -> list[dict[str, Any]]:
    found = []
    for step in with_config(steps, SelectConfig):
        if not store.is_readable(step, "units.json"):
            continue
        score = step.config.score
        summary = store.manifest(step).summary
        found.append(
            {
                "layer": score.config.layer,
                "d_teacher": summary["d_teacher"],
                "d_student": summary["d_student"],
                "units": read_units(step, store),
                "target": summary["target"],
                "select": summary.get("select", "highest"),
                "rank": summary.get("rank"),
                "stability": summary.get("stability"),
                "kept_share": summary["kept_share"],
                "kept_moment": summary.get("kept_moment"),
                "geometry": store.manifest(score).summary.get("geometry"),
                "score_digest": store.manifest(score).summary["digest"],
                "score_kind": score.config.importance.kind,
                "score_draw": None if score.config.draw is None else asdict(score.config.draw),
                "score_hash": score.hash,
            }
        )
    return found


def _parameters_json(plan: Plan, store: Store) -> dict[str, dict[str, int]]:
    """How many parameters each student has, and with an adapter trains, by the trial's hash."""
    keys = ("parameters", "trainable_parameters")
    found = {}
    for trial in plan.trials:
        if store.has(trial.distill):
            summary = store.manifest(trial.distill).summary
            found[trial.hash] = {key: summary[key] for key in keys if key in summary}
    return found


def _trial_json(record: TrialRecord, evaluation: str) -> dict[str, Any]:
    """evaluation: hash of the step that has its predictions."""
    known = {
        "hash": record.hash,
        "method": record.method,
        "params": dict(record.params),
        "seed": record.seed,
        "status": record.status,
        "metrics": dict(record.metrics),
        "seconds": round(record.seconds, 3),
        "run_id": record.run_id,
        "evaluation": evaluation,
    }
    return {**known, "reason": record.reason} if record.reason else known
