"""What every tracker promises, over memory, SQLite and a server."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.tracking import JobRecord, StepMetrics, StoredStudent, Tracker, TrialRecord

from .conftest import stored

Place = Any  # of conftest.py
MakeTrial = Callable[..., TrialRecord]

ROWS = [
    *(StepMetrics(step, {"train/loss": 1 / step}) for step in range(1, 9)),
    StepMetrics(4, {"validation/accuracy": 0.5}),
    StepMetrics(8, {"validation/accuracy": 0.75}),
]


def points_of(rows: list[StepMetrics]) -> set[tuple[str, int, float]]:
    return {(key, row.step, value) for row in rows for key, value in row.values.items()}


@pytest.fixture
def student(tmp_path: Path) -> Path:
    folder = tmp_path / "student"
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"12345")
    (folder / "tokenizer" / "vocab.txt").write_text("[CLS]")
    return folder


def whole_job(tracker: Tracker, job: JobRecord, trial: TrialRecord, student: Path) -> None:
    tracker.start_job(job)
    tracker.start_trial(trial)
    tracker.log_steps(trial.hash, ROWS[:5])
    tracker.finish_trial(trial, student=stored(student), rows=ROWS)
    tracker.log_job_files({"spec.yaml": student / "model.safetensors"})
    tracker.finish_job("done", {"seconds": 3.0})


def test_all_again_changes_nothing(
    place: Place, job: JobRecord, trial: TrialRecord, student: Path
) -> None:
    tracker = place.tracker()
    whole_job(tracker, job, trial, student)
    before = place.runs("job"), place.runs("trial")
    whole_job(tracker, job, trial, student)
    whole_job(place.tracker(), job, trial, student)
    assert (place.runs("job"), place.runs("trial")) == before


def test_finishing_alone_records_what_a_live_job_records(
    place: Place, make_trial: MakeTrial
) -> None:
    live, alone = make_trial(), make_trial(hash="b" * 64)
    tracker = place.tracker()
    tracker.start_trial(live)
    for row in ROWS:
        tracker.log_steps(live.hash, [row])
    tracker.finish_trial(live, student=None, rows=ROWS)
    place.tracker().finish_trial(alone, student=None, rows=ROWS)
    first, second = place.runs("trial")
    assert first.points == second.points
    assert first.params == second.params
    assert first.status == second.status == "FINISHED"
    finals = {("test/accuracy", 8, 0.8125), ("test/f1", 8, 0.75), ("seconds", 8, 12.5)}
    assert set(first.points) == points_of(ROWS) | finals


def test_holes_are_filled(place: Place, trial: TrialRecord) -> None:
    tracker = place.tracker()
    tracker.start_trial(trial)
    tracker.log_steps(trial.hash, ROWS[:2])
    tracker.log_steps(trial.hash, ROWS[5:7])
    place.tracker().finish_trial(trial, student=None, rows=ROWS)
    assert points_of(ROWS) <= set(place.run("trial").points)


def test_a_resumed_training_repeats_no_step(place: Place, trial: TrialRecord) -> None:
    first = place.tracker()
    first.start_trial(trial)
    first.log_steps(trial.hash, ROWS[:6])
    resumed = place.tracker()
    resumed.start_trial(trial)
    resumed.log_steps(trial.hash, [StepMetrics(6, {"train/loss": 99.0}), *ROWS[3:]])
    run = place.run("trial")
    assert set(run.points) == points_of(ROWS)
    assert len(run.points) == len(points_of(ROWS))


def test_steps_can_be_logged_by_a_process_that_did_not_start_the_trial(
    place: Place, trial: TrialRecord
) -> None:
    place.tracker().start_trial(trial)
    place.tracker().log_steps(trial.hash, ROWS)
    assert set(place.run("trial").points) == points_of(ROWS)


@pytest.mark.parametrize(
    ("status", "ended"),
    [("done", "FINISHED"), ("reused", "FINISHED"), ("failed", "FAILED"), ("pruned", "KILLED")],
)
def test_trial_ends_as_it_did(place: Place, make_trial: MakeTrial, status: str, ended: str) -> None:
    reason = "" if ended == "FINISHED" else "loss is not finite at step 7"
    place.tracker().finish_trial(make_trial(status=status, reason=reason), student=None, rows=[])
    run = place.run("trial")
    assert run.status == ended
    assert run.tags["flexkd.status"] == ("done" if ended == "FINISHED" else status)
    assert run.tags.get("flexkd.reason", "") == reason


def test_a_failed_trial_can_be_done_later_but_not_undone(
    place: Place, make_trial: MakeTrial
) -> None:
    failed = make_trial(status="failed", reason="out of memory", metrics={}, seconds=3.0)
    tracker = place.tracker()
    tracker.finish_trial(failed, student=None, rows=ROWS[:3])
    tracker.start_trial(make_trial())
    assert place.run("trial").status == "RUNNING"
    tracker.finish_trial(make_trial(), student=None, rows=ROWS)
    tracker.finish_trial(failed, student=None, rows=ROWS[:3])
    tracker.start_trial(failed)
    run = place.run("trial")
    assert run.status == "FINISHED"
    assert run.tags["flexkd.status"] == "done"
    assert "flexkd.reason" not in run.tags
    assert points_of(ROWS) <= set(run.points)


def test_a_later_evaluation_adds_its_metric(place: Place, make_trial: MakeTrial) -> None:
    place.tracker().finish_trial(make_trial(), student=None, rows=ROWS)
    more = make_trial(metrics={"test/accuracy": 0.8125, "test/matthews": 0.625})
    place.tracker().finish_trial(more, student=None, rows=ROWS)
    points = place.run("trial").points
    assert ("test/matthews", 8, 0.625) in points
    assert len([point for point in points if point[0] == "test/accuracy"]) == 1


def test_student_is_copied_once_and_completed(
    place: Place, trial: TrialRecord, student: Path
) -> None:
    tokenizer = student / "tokenizer" / "vocab.txt"
    text = tokenizer.read_text()
    tokenizer.unlink()
    place.tracker(log_students=True).finish_trial(trial, student=stored(student), rows=[])
    assert place.run("trial").artifacts == {"student/model.safetensors": 5}
    tokenizer.write_text(text)
    place.tracker(log_students=True).finish_trial(trial, student=stored(student), rows=[])
    expected = {"student/model.safetensors": 5, "student/tokenizer/vocab.txt": 5}
    assert place.run("trial").artifacts == expected


def test_student_is_only_pointed_to_when_it_is_not_to_be_copied(
    place: Place, trial: TrialRecord
) -> None:
    def fetch() -> Path:
        raise AssertionError("its files are fetched to be copied, and never else")

    student = StoredStudent("s3://team/steps/distill/1?region=x", "ab" * 32, fetch)
    for _ in range(2):
        place.tracker().finish_trial(trial, student=student, rows=[])
    run = place.run("trial")
    assert run.artifacts == {}
    assert run.tags["flexkd.student"] == "s3://team/steps/distill/1?region=x"
    assert run.tags["flexkd.student_sha256"] == "ab" * 32


def test_more_than_one_request_can_hold(place: Place, make_trial: MakeTrial) -> None:
    settings = {f"distill.setting_{i}": i for i in range(250)}
    trial = make_trial(settings={**settings, "long": "α" * 7000, "long2": "α" * 7001})
    rows = [StepMetrics(step, {"a": step, "b": -step, "c": 0.5}) for step in range(900)]
    tracker = place.tracker()
    tracker.start_trial(trial)
    tracker.log_steps(trial.hash, rows)
    place.tracker().finish_trial(trial, student=None, rows=rows)
    run = place.run("trial")
    assert points_of(rows) <= set(run.points)
    assert len(run.params) == 252
    assert len(run.params["long"]) == len(run.params["long2"]) == 6000
    assert run.params["long"] != run.params["long2"]


def test_metrics_that_are_not_finite_are_recorded_once(place: Place, make_trial: MakeTrial) -> None:
    trial = make_trial(metrics={"test/mse": math.inf, "test/pearson": math.nan})
    rows = [StepMetrics(1, {"train/loss": math.nan})]
    for _ in range(2):
        place.tracker().finish_trial(trial, student=None, rows=rows)
    assert [key for key, _, _ in place.run("trial").points] == [
        "seconds",
        "test/mse",
        "test/pearson",
        "train/loss",
    ]
