"""Read a finished job from the storage: results, logs, importance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.numpy import load_file

from ..artifacts import read_log_file
from ..spec import JobSpec, Problem, SpecError, did_you_mean, parse_spec
from ..store import Store
from ..tracking import StepMetrics
from .job_folder import JobFolder


class JobFiles:
    """A job's files, read-only."""

    def __init__(self, store: Store, job_id: str) -> None:
        self.store = store
        self.folder = JobFolder(store, job_id)
        self.results: Mapping[str, Any] = _parsed(self.folder)
        self.spec_yaml = self.folder.read("spec.yaml")

    def spec(self) -> JobSpec:
        """The job's spec, as `spec.yaml` has it."""
        return parse_spec(self.spec_yaml, source=self.folder.place("spec.yaml"))

    def training_log(self, trial_hash: str) -> list[StepMetrics]:
        """The step metrics of a finished trial, in order."""
        return read_log_file(self.store.file_at("distill", trial_hash, "log.parquet"))

    def importance(self, score_hash: str) -> list[float]:
        """G, one value per teacher unit."""
        folder = self.store.folder_at("score", score_hash)
        values: list[float] = load_file(folder / "importance.safetensors")["G"].tolist()
        return values

    def geometry(self, score_hash: str) -> dict[str, Any] | None:
        """Spectra and dimensions of a score; None if its moments were not kept."""
        file = self.store.folder_at("score", score_hash) / "geometry.json"
        return dict(json.loads(file.read_text())) if file.exists() else None


def _parsed(folder: JobFolder) -> Mapping[str, Any]:
    """The content of results.json.

    Raises:
        SpecError: it is truncated or altered.
    """
    try:
        results = json.loads(folder.read("results.json"))
        if not isinstance(results, dict) or not {"job", "steps", "trials"} <= set(results):
            raise ValueError("it has no job, steps and trials")
    except ValueError as error:
        remedy = "run the job's spec again: it reuses what was done and writes the file anew"
        text = f"{folder.place('results.json')} is damaged: {error}"
        raise SpecError([Problem("", text, remedy)]) from None
    return results


def find_job(store: Store, name: str) -> JobFiles:
    """The job with this id, or the newest one with this name.

    Raises:
        SpecError: there is no such job; the message lists the existing ones.
    """
    found = []
    ids = store.list_folder("jobs")
    for job_id in ids:
        if name in {job_id, job_id.rpartition("-")[0]}:
            try:
                found.append(JobFiles(store, job_id))
            except FileNotFoundError:
                continue  # the job ended before it had results
    if not found:
        known = ", ".join(ids) or "none yet"
        hint = did_you_mean(name, [*ids, *(job_id.rpartition("-")[0] for job_id in ids)])
        message = f"no job {name!r} with results in {store.uri}"
        problem = Problem("", message, f"{hint}jobs there: {known}")
        raise SpecError([problem])
    return max(found, key=lambda job: job.folder.ledger()[-1]["time"])
