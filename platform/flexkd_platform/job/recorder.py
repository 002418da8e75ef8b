"""Record the steps and trials of a job in the tracker."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from ..artifacts import read_log
from ..plan import DatasetConfig, Plan, Step, Trial
from ..results.job_folder import JobFolder
from ..store import Store
from ..tracking import (
    DatasetRecord,
    JobRecord,
    Progress,
    StepMetrics,
    StoredStudent,
    TrackedJob,
    Tracker,
    TrialRecord,
    TrialStatus,
    logs_system_metrics,
)
from ..tracking.provenance import current_user, provenance
from .results_json import DATA_COUNTS, Outcome, data_json, teacher_json, texts_json

READ = {"score": "importance.safetensors", "select": "units.json"}
"""The files of shared steps that a job's run keeps, by kind of the step."""

NAMED = {"teacher": "teacher", "distill": "student"}
"""The models whose size a trial records, by kind of the step that trains them."""


class Recorder:
    """Records one job in the tracker. All of it can be recorded again from the store."""

    def __init__(self, tracker: Tracker, plan: Plan, spec_yaml: str, store: Store) -> None:
        self._tracker, self.plan = tracker, plan
        self._spec_yaml, self._store = spec_yaml, store
        self._runs: dict[str, str] = {}
        self._open: dict[str, Trial] = {}
        self._started = False

    def start(self, datasets: Sequence[Step[DatasetConfig]]) -> None:
        """Start the job's run once its data are known; an axis may create several data sets."""
        if self._started:
            return
        spec = self.plan.spec
        dataset = datasets[0] if datasets else None
        self._started = True
        self._tracker.start_job(
            JobRecord(
                hash=spec.hash,
                id=spec.id,
                name=spec.name,
                experiment=spec.experiment,
                spec_yaml=self._spec_yaml,
                tags=provenance(),
                dataset=self._dataset_record(dataset),
            )
        )

    def trial_started(self, trial: Trial) -> None:
        """Find or create the trial's run."""
        self._open[trial.hash] = trial
        self._runs[trial.hash] = self._tracker.start_trial(self._record(trial, "done", ""))

    @property
    def tracked(self) -> TrackedJob | None:
        """Where the job is recorded, once it has started."""
        return self._tracker.tracked()

    def trial_progressed(self, trial: Trial, progress: Sequence[Progress]) -> None:
        """Log the metrics of the trial's training steps, and those of the machine that it uses."""
        rows = [each.metrics for each in progress if each.metrics]
        if logs_system_metrics():
            rows += [StepMetrics(each.done, each.system) for each in progress if each.system]
        if rows:
            self._tracker.log_steps(trial.hash, rows)

    def trial_ended(self, trial: Trial, status: str, reason: str) -> TrialRecord:
        """Complete the trial's run from the store; returns what was recorded."""
        record = self._record(trial, cast(TrialStatus, status), reason)
        self._open.pop(trial.hash, None)
        if trial.hash not in self._runs:
            self._runs[trial.hash] = self._tracker.start_trial(record)
        there = status != "pruned" and self._store.has(trial.distill)
        self._tracker.finish_trial(
            record,
            student=self._student(trial.distill) if there else None,
            rows=read_log(trial.distill, self._store) if there else [],
        )
        return replace(record, run_id=self._runs[trial.hash])

    def end(self, outcome: Outcome, folder: JobFolder) -> None:
        """Log the job's files and summary, and end its run and those of interrupted trials."""
        if not self._started:
            return  # the job ended before its data were known
        for trial in list(self._open.values()):
            self.trial_ended(trial, "failed", "interrupted")
        with tempfile.TemporaryDirectory() as scratch:
            self._tracker.log_job_files(self._job_files(folder, Path(scratch)))
        status = {"done": "done", "failed": "failed"}.get(outcome.status, "stopped")
        self._tracker.finish_job(status, self._job_metrics(outcome))  # type: ignore[arg-type]

    def _job_files(self, folder: JobFolder, scratch: Path) -> dict[str, Path]:
        """results.json, the URIs of all artifacts, and G and the units of every selection."""
        results = scratch / "results.json"
        results.write_text(folder.read("results.json"))
        artifacts = scratch / "artifacts.json"
        artifacts.write_text(json.dumps(self._artifacts(), indent=1) + "\n")
        files = {"results.json": results, "artifacts.json": artifacts}
        for step in self.plan.shared:
            name = READ.get(step.kind)
            if name is not None and self._store.is_readable(step, name):
                files[f"{step.kind}-{step.hash[:12]}/{name}"] = self._store.file(step, name)
        return files

    def _student(self, step: Step) -> StoredStudent:
        return StoredStudent(
            uri=self._store.artifact_uri(step),
            digest=self._store.manifest(step).digest,
            folder=lambda: self._store.folder(step) / "model",
        )

    def _artifacts(self) -> list[dict[str, str | int]]:
        """URIs and digests of all artifacts that the job created or used."""
        found: list[dict[str, str | int]] = []
        for step in self.plan.steps():
            if not self._store.has(step):
                continue
            manifest = self._store.manifest(step)
            size = sum(entry.bytes for entry in manifest.files.values())
            place = {"uri": self._store.artifact_uri(step), "sha256": manifest.digest}
            found.append({"kind": step.kind, "hash": step.hash, "bytes": size, **place})
        return found

    def _job_metrics(self, outcome: Outcome) -> dict[str, float]:
        metrics = {"seconds": outcome.seconds, "trials": float(len(outcome.trials))}
        found = teacher_json(self.plan, self._store).get("metrics", {})
        metrics |= {f"teacher/{name}": value for name, value in found.items()}
        for split, profile in data_json(self.plan, self._store).get("data", {}).items():
            counts = {key: profile[key] for key in DATA_COUNTS if key in profile}
            metrics |= {f"data/{split}/{key}": float(rows) for key, rows in counts.items()}
        lengths = texts_json(self.plan, self._store).get("texts", {}).get("lengths", {})
        return metrics | {
            f"truncated/{split}/{name}": float(kind["cut"])
            for split, each in lengths.items()
            for name, kind in each.items()
            if name != "rows"
        }

    def _dataset_record(self, step: Step[DatasetConfig] | None) -> DatasetRecord:
        if step is None:
            return DatasetRecord("unknown", "unknown", "", {})
        summary = self._store.manifest(step).summary
        return DatasetRecord(
            name=step.config.name,
            source=step.config.source.source,
            digest=step.config.fingerprint,
            sizes={name: entry["rows"] for name, entry in summary.items()},
            profile=dict(summary),
        )

    def _record(self, trial: Trial, status: TrialStatus, reason: str) -> TrialRecord:
        metrics: dict[str, float] = {}
        seconds = 0.0
        # A pruned trial has no metrics, although one stopped just before its test has a student.
        for step in () if status == "pruned" else (trial.distill, trial.evaluate):
            if self._store.has(step):
                manifest = self._store.manifest(step)
                metrics |= manifest.summary["metrics"]
                seconds += manifest.seconds
        return TrialRecord(
            hash=trial.hash,
            method=trial.method,
            params=trial.params,
            settings=trial.settings,
            seed=trial.seed,
            status=status,
            metrics=metrics,
            seconds=seconds,
            job=self.plan.spec.hash,
            user=current_user(),
            reason=reason,
            dataset=self._datasets(trial),
            sizes=self._parameters(trial),
        )

    def _datasets(self, trial: Trial) -> DatasetRecord | None:
        """The data of a trial; an axis may create several data sets."""
        step = trial.distill.config.dataset
        return self._dataset_record(step) if self._store.has(step) else None

    def _parameters(self, trial: Trial) -> dict[str, int]:
        """How many parameters the teacher and the student have, as far as they are published."""
        steps = [*trial.distill.upstream(), trial.distill]
        return {
            f"{NAMED[step.kind]}/parameters": self._store.manifest(step).summary["parameters"]
            for step in steps
            if step.kind in NAMED and self._store.has(step)
        }
