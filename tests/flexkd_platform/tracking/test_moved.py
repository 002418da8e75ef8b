"""A storage that was moved takes the artifacts of its runs along."""

from __future__ import annotations

import shutil
from pathlib import Path

from flexkd_platform.tracking import JobRecord, TrialRecord, open_tracker

from .conftest import MlflowPlace, stored


def record(storage: Path, job: JobRecord, trial: TrialRecord, student: Path) -> None:
    """All of a job, as a process of its own would: MLflow remembers where a run's files are."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()
    root = str(storage / "mlartifacts")
    uri = f"sqlite:///{storage / 'mlflow.db'}"
    tracker = open_tracker(uri, "moved", artifact_location=root, log_students=True)
    tracker.start_job(job)
    tracker.finish_trial(trial, student=stored(student), rows=[])
    tracker.log_job_files({"results.json": student / "model.safetensors"})
    tracker.finish_job("done", {})
    tracker.close()


def test_a_moved_storage_keeps_its_artifacts_and_a_copy_leaves_the_original(
    tmp_path: Path, job: JobRecord, trial: TrialRecord
) -> None:
    student = tmp_path / "student"
    student.mkdir()
    (student / "model.safetensors").write_bytes(b"12345")
    old, new, copy = (tmp_path / name for name in ("old", "new", "copy"))
    record(old, job, trial, student)
    before = MlflowPlace(f"sqlite:///{old / 'mlflow.db'}", "moved").run("trial").artifacts
    assert before == {"student/model.safetensors": 5}
    old.rename(new)
    record(new, job, trial, student)
    assert not old.exists(), "nothing is written to where the storage was"
    place = MlflowPlace(f"sqlite:///{new / 'mlflow.db'}", "moved")
    assert place.run("trial").artifacts == before
    assert place.run("job").artifacts.keys() == {"spec.yaml", "results.json"}
    shutil.copytree(new, copy)
    record(copy, job, trial, student)
    copied = MlflowPlace(f"sqlite:///{copy / 'mlflow.db'}", "moved")
    assert copied.run("trial").artifacts == before, "read from the original, which is still there"
