"""The results of a job, and its students."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexkd_platform.export import Student as ChosenStudent
from flexkd_platform.export import find_student, parse_target, trials_of
from flexkd_platform.results import JobFiles
from flexkd_platform.tracking import TrialRecord

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Results:
    """What a job has produced so far, read once from its `results.json`.

    files: the job's folder in the storage, with its spec, logs and importance scores.
    """

    def __init__(self, files: JobFiles) -> None:
        self.files = files

    def __repr__(self) -> str:
        return f"Results({self.job_id}: {self.status}, {len(self.trials)} trials, {self.folder})"

    @property
    def job_id(self) -> str:
        """`<name>-<short hash>`."""
        return self.files.folder.id

    @property
    def status(self) -> str:
        """`running`, `done`, `failed` or `interrupted`."""
        return str(self.files.results["job"]["status"])

    @property
    def folder(self) -> str:
        """The path or URI of the job's folder."""
        return self.files.folder.location

    @property
    def report(self) -> str:
        """The path or URI of the HTML report, which a run writes at its end."""
        return self.files.folder.place("report/index.html")

    @property
    def teacher(self) -> Mapping[str, Any]:
        """The teacher's `parameters` and `metrics`; empty if no method needed it."""
        found: Mapping[str, Any] = self.files.results["teacher"]
        return found

    @property
    def trials(self) -> list[TrialRecord]:
        """The trials that have ended, in the order of the plan."""
        return trials_of(self.files)

    @property
    def failed(self) -> list[TrialRecord]:
        """The trials that failed; `reason` is why."""
        return [trial for trial in self.trials if trial.status == "failed"]

    def dataframe(self) -> pd.DataFrame:
        """One row for each trial: method, params, seed, status, metrics, seconds, hash, run id.

        Params and metrics are columns of their own, empty for trials without them. Metrics are in
        their own unit (accuracy is a fraction), `seconds` is wall time.
        """
        import pandas as pd

        columns = ["method", *self._params(), "seed", "status", *self._metrics(), "seconds"]
        rows = [
            {
                "method": trial.method,
                **trial.params,
                "seed": trial.seed,
                "status": trial.status,
                **trial.metrics,
                "seconds": trial.seconds,
                "hash": trial.hash,
                "run_id": trial.run_id,
                "reason": trial.reason,
            }
            for trial in self.trials
        ]
        return pd.DataFrame(rows, columns=[*columns, "hash", "run_id", "reason"])

    def groups(self) -> list[Mapping[str, Any]]:
        """The trials aggregated over seeds, best first, as `groups` of `results.json` has them.

        Each has `method`, `params`, `n`, `pruned`, `failed`, `metrics` (name → `mean`, `std`,
        `ci95`) and `versus`, the paired difference to the baseline.
        """
        found: list[Mapping[str, Any]] = self.files.results["groups"]
        return found

    def best(self, method: str | None = None) -> Student:
        """The student that is best on the validation split, of one method or of all.

        It is the best seed of the setting with the best mean over its seeds. The test split chooses
        nothing.

        Raises:
            SpecError: no trial has finished, or there is no such method.
        """
        return self.student("best" if method is None else f"{method},best")

    def student(self, which: str) -> Student:
        """The student that `flexkd export JOB:WHICH` takes, as `flexkd,α=0.5,seed=10`.

        Raises:
            SpecError: no trial matches, several do, or the trial has no student.
        """
        return Student(find_student(self.files, parse_target(f"{self.job_id}:{which}")))

    def _params(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial.params))

    def _metrics(self) -> list[str]:
        return list(dict.fromkeys(name for trial in self.trials for name in trial.metrics))


class Student:
    """A trained student in the storage.

    trial: its method, params, seed and metrics.
    chosen_by: the validation metric that chose it; None if it was named.
    """

    def __init__(self, chosen: ChosenStudent) -> None:
        self._chosen = chosen
        self.trial, self.chosen_by = chosen.trial, chosen.chosen_by

    def __repr__(self) -> str:
        return f"Student({self._chosen.label})"

    def load(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The model on the CPU, in fp32 and eval mode, and its tokenizer.

        They are those of an exported folder: adapters are merged, and a regressor outputs labels.

        Raises:
            SpecError: the storage no longer holds the student.
        """
        from flexkd_platform.export.folder import load_student

        model, tokenizer, _ = load_student(self._chosen)
        return model, tokenizer

    def export(self, folder: str | Path) -> Path:
        """Write model, tokenizer and model card to a new folder, which is returned.

        Raises:
            SpecError: the folder is not empty, or the storage no longer holds the student.
        """
        from flexkd_platform.export.folder import write_student

        return write_student(self._chosen, Path(folder)).folder
