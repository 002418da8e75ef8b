"""What every tracker promises of jobs and of trials in them, over memory, SQLite and a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.tracking import JobRecord, StepMetrics, TrialRecord

Place = Any  # of conftest.py
MakeTrial = Callable[..., TrialRecord]

ROWS = [StepMetrics(step, {"train/loss": 1 / step}) for step in range(1, 4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "report" / "figures").mkdir(parents=True)
    (tmp_path / "report" / "index.html").write_text("<html>")
    (tmp_path / "report" / "figures" / "one.svg").write_text("<svg>")
    return tmp_path / "report"


def test_job_is_named_and_described(place: Place, job: JobRecord) -> None:
    run_id = place.tracker().start_job(job)
    run = place.run("job")
    assert run.id == run_id
    assert run.status == "RUNNING"
    assert run.tags["flexkd.job_hash"] == job.hash
    assert run.tags["flexkd.job_id"] == "quickstart-11111111"
    assert run.tags["team"] == "language"
    assert run.tags["mlflow.user"]
    assert run.tags["flexkd.version.torch"]
    assert [job.dataset.digest.startswith(digest) for digest in run.digests] == [True]
    assert "spec.yaml" in run.artifacts


def test_trial_is_named_and_hangs_from_its_job(
    place: Place, job: JobRecord, trial: TrialRecord
) -> None:
    tracker = place.tracker()
    parent = tracker.start_job(job)
    run_id = tracker.start_trial(trial)
    run = place.run("trial")
    assert run.id == run_id
    assert run.status == "RUNNING"
    wanted = {
        "mlflow.parentRunId": parent,
        "mlflow.user": "ada",
        "flexkd.hash": trial.hash,
        "flexkd.group": trial.group,
        "flexkd.method": "flexkd",
        "flexkd.seed": "10",
        "flexkd.jobs": job.hash,
    }
    assert wanted.items() <= run.tags.items()
    assert run.params == {
        "method.kind": "flexkd",
        "method.alpha": "0.5",
        "distill.learning_rate": "0.0003",
    }


def test_trial_says_what_it_is(place: Place, job: JobRecord, make_trial: MakeTrial) -> None:
    sizes = {"teacher/parameters": 22_713_986, "student/parameters": 2_090_690}
    trial = make_trial(dataset=job.dataset, sizes=sizes)
    tracker = place.tracker()
    tracker.start_job(job)
    tracker.finish_trial(trial, student=None, rows=ROWS)
    run = place.run("trial")
    assert run.tags["flexkd.group_name"] == "flexkd α=0.5"
    assert run.tags["mlflow.note.content"] == (
        "One student, trained by `flexkd α=0.5` with seed 10 on movie-reviews (3,000 train, "
        "500 validation, 1,500 test), of job `quickstart-11111111`."
    )
    assert "`quickstart-11111111`" in place.run("job").tags["mlflow.note.content"]
    assert [digest[:36] for digest in run.digests] == [job.dataset.digest[:36]]
    last = ROWS[-1].step
    assert {(name, last, float(size)) for name, size in sizes.items()} <= set(run.points)
    # They are no results: comparisons do not list them.
    assert run.tags["flexkd.metrics"] == "test/accuracy,test/f1"


def test_parent_is_found_by_a_process_that_did_not_start_the_job(
    place: Place, job: JobRecord, trial: TrialRecord
) -> None:
    parent = place.tracker().start_job(job)
    place.tracker().finish_trial(trial, student=None, rows=[])
    assert place.run("trial").tags["mlflow.parentRunId"] == parent


def test_another_job_joins_a_trial(place: Place, job: JobRecord, make_trial: MakeTrial) -> None:
    first = place.tracker()
    parent = first.start_job(job)
    first.finish_trial(make_trial(), student=None, rows=ROWS)
    before = place.run("trial")
    second = place.tracker()
    second.start_job(replace(job, hash="2" * 64, id="other-22222222"))
    joined = make_trial(
        job="2" * 64,
        user="bob",
        status="reused",
        seconds=0.0,
        params={"alpha": 0.5, "distill.learning_rate": 3e-4},
    )
    second.start_trial(joined)
    second.finish_trial(joined, student=None, rows=ROWS)
    run = place.run("trial")
    assert run.tags["flexkd.jobs"] == f"{'1' * 64},{'2' * 64}"
    assert run.tags["mlflow.parentRunId"] == parent
    assert run.tags["mlflow.user"] == "ada"
    assert run.tags["flexkd.status"] == "done"
    assert (run.points, run.status, run.params) == (before.points, "FINISHED", before.params)


def test_job_files_keep_the_names_they_are_given(
    place: Place, job: JobRecord, folder: Path
) -> None:
    tracker = place.tracker()
    tracker.start_job(job)
    files = {"selection/units.json": folder / "index.html", "report": folder}
    tracker.log_job_files(files)
    assert place.run("job").artifacts.keys() - {"spec.yaml"} == {
        "selection/units.json",
        "report/index.html",
        "report/figures/one.svg",
    }


@pytest.mark.parametrize(
    ("status", "ended"), [("done", "FINISHED"), ("failed", "FAILED"), ("stopped", "KILLED")]
)
def test_job_ends_and_can_be_run_again(
    place: Place, job: JobRecord, status: str, ended: str
) -> None:
    tracker = place.tracker()
    tracker.start_job(job)
    tracker.finish_job(status, {"seconds": 4.0})
    assert place.run("job").status == ended
    again = place.tracker()
    again.start_job(job)
    assert place.run("job").status == "RUNNING"
    again.finish_job("done", {"seconds": 4.0})
    assert place.run("job").status == "FINISHED"
    assert place.run("job").points == [("seconds", 0, 4.0)]
