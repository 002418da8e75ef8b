"""A job outlives its tracking server, and the record is completed afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flexkd_platform.tracking import (
    JobRecord,
    MlflowTracker,
    ResilientTracker,
    StepMetrics,
    TrialRecord,
    read_trials,
)

from ..memory_tracker import MemoryTracker

ROWS = [StepMetrics(step, {"train/loss": 1 / (step + 1)}) for step in range(10)]


class Frail(MemoryTracker):
    """Breaks when told to, and counts the calls it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.calls = 0

    def log_steps(self, trial_hash: str, rows: Any) -> None:
        self.calls += 1
        if self.broken:
            raise ConnectionError("connection\nrefused")
        super().log_steps(trial_hash, rows)


def test_trouble_is_told_once_in_one_line_and_nothing_more_is_sent(
    job: JobRecord, trial: TrialRecord
) -> None:
    told: list[str] = []
    inner = Frail()
    tracker = ResilientTracker(inner, told.append)
    tracker.start_job(job)
    tracker.start_trial(trial)
    inner.broken = True
    for row in ROWS:
        tracker.log_steps(trial.hash, [row])
    tracker.finish_trial(trial, student=None, rows=ROWS)
    tracker.finish_job("done", {})
    assert told == ["tracking stopped, the job continues: connection refused"]
    assert inner.calls == 1
    assert not tracker.complete
    assert inner.trials() == []


def test_the_same_calls_again_complete_the_record(job: JobRecord, trial: TrialRecord) -> None:
    told: list[str] = []
    inner = Frail()
    inner.broken = True
    tracker = ResilientTracker(inner, told.append)

    def all_calls() -> None:
        tracker.start_job(job)
        tracker.start_trial(trial)
        tracker.log_steps(trial.hash, ROWS[:3])
        tracker.finish_trial(trial, student=None, rows=ROWS)
        tracker.finish_job("done", {})

    all_calls()
    assert not tracker.complete
    all_calls()
    assert not tracker.complete
    assert len(told) == 1
    inner.broken = False
    all_calls()
    assert tracker.complete
    assert len(inner.trials()) == 1


def test_interrupting_still_interrupts(trial: TrialRecord) -> None:
    class Interrupted(MemoryTracker):
        def start_trial(self, trial: TrialRecord) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ResilientTracker(Interrupted(), pytest.fail).start_trial(trial)


def test_a_server_dies_and_comes_back(
    mortal_server: Any,
    job: JobRecord,
    make_trial: Callable[..., TrialRecord],
) -> None:
    trials = [make_trial(hash=letter * 64, seed=seed) for letter, seed in [("a", 1), ("b", 2)]]
    told: list[str] = []
    tracker = ResilientTracker(MlflowTracker(mortal_server.uri, "mortal"), told.append)
    tracker.start_job(job)
    assert tracker.start_trial(trials[0])
    tracker.log_steps(trials[0].hash, ROWS[:4])
    assert tracker.complete

    mortal_server.stop()
    tracker.log_steps(trials[0].hash, ROWS[4:])
    tracker.finish_trial(trials[0], student=None, rows=ROWS)
    assert tracker.start_trial(trials[1]) == ""
    tracker.finish_trial(trials[1], student=None, rows=ROWS)
    tracker.finish_job("done", {"seconds": 1.0})
    assert not tracker.complete
    assert len(told) == 1
    assert "\n" not in told[0]

    mortal_server.start()
    tracker.start_job(job)
    for trial in trials:
        tracker.finish_trial(trial, student=None, rows=ROWS)
    tracker.finish_job("done", {"seconds": 1.0})
    assert tracker.complete
    read = read_trials(mortal_server.uri, experiments=["mortal"], job=job.id)
    assert [(t.hash, t.status) for t in read] == [("a" * 64, "done"), ("b" * 64, "done")]

    from mlflow import MlflowClient

    client = MlflowClient(mortal_server.uri)
    for trial in read:
        history = client.get_metric_history(trial.run_id, "train/loss")
        assert sorted(metric.step for metric in history) == list(range(10))
