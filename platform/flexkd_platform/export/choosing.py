"""Choose a student of a finished or running job by what its `results.json` records."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..results import JobFiles, group_trials
from ..results.versus import lower_is_better
from ..search.choosing import validation_metric
from ..spec import JobSpec, OptunaSearch, Problem, SpecError
from ..store import StoreError
from ..tracking import TrialRecord
from .target import Target, argument_of, is_named

SHOWN = 12
"""Candidates that a message lists at most."""


@dataclass(frozen=True)
class Student:
    """A trained student in the storage.

    files, spec: of its job.
    trial: its record; `settings` are its `params`.
    chosen_by: the validation metric that chose it; None if the request named it.
    candidates: how many finished trials it was chosen from.
    """

    files: JobFiles
    spec: JobSpec
    trial: TrialRecord
    chosen_by: str | None = None
    candidates: int = 1

    @property
    def job_id(self) -> str:
        """`<name>-<short hash>`."""
        return self.files.folder.id

    @property
    def label(self) -> str:
        """`flexkd α=0.5 seed 10 of job quickstart-1a2b3c4d`."""
        return f"{self.trial.label} of job {self.job_id}"

    def folder(self) -> Path:
        """A local folder with the saved model and its tokenizer, downloaded from a remote storage.

        Raises:
            SpecError: the storage no longer holds the student.
        """
        try:
            return self.files.store.folder_at("distill", self.trial.hash) / "model"
        except StoreError as error:
            remedy = "run the job again with the same --storage: it trains what is missing"
            raise SpecError([Problem("JOB", f"{self.label}: {error}", remedy)]) from None


def find_student(files: JobFiles, target: Target) -> Student:
    """The one trial that a target means.

    `best` ranks settings by their mean over the seeds on the validation split, settings with failed
    or pruned trials last, and takes the seed of the first setting that is best on validation. The
    test split chooses nothing.

    Raises:
        SpecError: no trial matches, several do, or the trial has no student.
    """
    spec, trials = files.spec(), trials_of(files)
    _require_known(target, trials)
    found = [trial for trial in trials if target.matches(trial)]
    if not found:
        _refuse("no trial of this job has these settings", "its trials are", trials)
    if target.best:
        finished = [trial for trial in found if trial.finished]
        metric = chosen_by(spec)
        best = best_trial(found, metric)
        if best is None:
            _refuse(f"no trial has finished with {metric}", "they ended so:", found, reasons=True)
        return Student(files, spec, best, metric, len(finished))
    if len(found) > 1:
        _refuse(
            f"{len(found)} trials match", "name one, or add `best` to choose on validation:", found
        )
    (trial,) = found
    if not trial.finished:
        what = "was stopped early" if trial.status == "pruned" else "failed"
        why = f": {trial.reason}" if trial.reason else ""
        message = f"{trial.label} {what}{why}"
        finished = [each for each in trials if each.finished]
        _refuse(message, "it has no student; those that have one are", finished)
    return Student(files, spec, trial)


def chosen_by(spec: JobSpec) -> str:
    """The validation metric that a job chooses by: that of its search, or of its task."""
    search = spec.sweep.search
    return validation_metric(spec, search.metric if isinstance(search, OptunaSearch) else None)


def best_trial(trials: Iterable[TrialRecord], metric: str) -> TrialRecord | None:
    """The best seed of the setting that is best on average; None if none has the metric."""
    trials = list(trials)
    for group in group_trials(trials, baseline=None, metrics=[metric]):
        if metric not in group.metrics:
            continue
        own = [
            trial
            for trial in trials
            if trial.finished and (trial.method, trial.settings) == (group.method, group.settings)
        ]
        sign = 1 if lower_is_better(metric) else -1
        return min(own, key=lambda trial: (sign * trial.metrics[metric], trial.seed))
    return None


def trials_of(files: JobFiles) -> list[TrialRecord]:
    """The trials in a job's `results.json`; within a job, their params are their settings."""
    return [
        TrialRecord(
            hash=entry["hash"],
            method=entry["method"],
            params=entry["params"],
            settings=entry["params"],
            seed=entry["seed"],
            status=entry["status"],
            metrics=entry["metrics"],
            seconds=entry["seconds"],
            run_id=entry["run_id"],
            reason=entry.get("reason", ""),
        )
        for entry in files.results["trials"]
    ]


def _require_known(target: Target, trials: Sequence[TrialRecord]) -> None:
    """Report a method and settings that no trial of the job has, with close names."""
    methods = list(dict.fromkeys(trial.method for trial in trials))
    paths = list(dict.fromkeys(path for trial in trials for path in trial.params))
    problems = []
    if target.method is not None and target.method not in methods:
        message = f"the job has no trial of method {target.method!r}"
        problems.append(Problem("JOB", message, _known(target.method, methods)))
    for key in target.settings:
        if not any(is_named(path, key) for path in paths):
            message = f"the job's trials have no setting {key!r}"
            problems.append(Problem("JOB", message, _known(key, [*paths, "seed"])))
    if problems:
        raise SpecError(problems)


def _known(given: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}there are {', '.join(names) or 'none'}"


def _refuse(
    message: str, remedy: str, trials: Sequence[TrialRecord], *, reasons: bool = False
) -> NoReturn:
    shown = [
        argument_of(trial) + (f" ({trial.status}: {trial.reason})" if reasons else "")
        for trial in trials[:SHOWN]
    ]
    if len(trials) > SHOWN:
        shown.append(f"… and {len(trials) - SHOWN} more")
    raise SpecError([Problem("JOB", message, "\n      ".join([remedy, *shown]))])
