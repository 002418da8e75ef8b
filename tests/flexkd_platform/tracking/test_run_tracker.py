"""What does not depend on where runs are kept, over memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_platform.tracking import StepMetrics, TrialRecord
from flexkd_platform.tracking.backend import Point
from flexkd_platform.tracking.run_tracker import RunTracker

from ..memory_tracker import MemoryRuns, MemoryTracker
from .conftest import stored

ROWS = [StepMetrics(step, {"loss": -step, "lr": step / 10}) for step in range(6)]
TRIAL = TrialRecord(
    hash="a" * 64,
    method="ft",
    params={},
    settings={"method.kind": "ft"},
    seed=1,
    status="done",
    metrics={"test/accuracy": 0.5},
    seconds=1.0,
)


@given(st.lists(st.lists(st.sampled_from(ROWS)), max_size=5))
def test_whatever_was_logged_before_the_end_is_the_same(
    logged: list[list[StepMetrics]],
) -> None:
    live, alone = MemoryTracker(), MemoryTracker()
    live.start_trial(TRIAL)
    for rows in logged:
        live.log_steps(TRIAL.hash, rows)
        crashed = live.runs
        live = MemoryTracker(crashed)
    live.finish_trial(TRIAL, student=None, rows=ROWS)
    alone.finish_trial(TRIAL, student=None, rows=ROWS)
    key = str  # any order will do
    assert sorted(live.runs[0].points, key=key) == sorted(alone.runs[0].points, key=key)
    assert live.trials() == alone.trials()


def test_trials_read_back_as_they_were() -> None:
    tracker = MemoryTracker()
    tracker.finish_trial(TRIAL, student=None, rows=ROWS)
    (read,) = tracker.trials()
    assert read.run_id == "memory-1"
    for name in ("hash", "method", "params", "settings", "seed", "status", "metrics", "seconds"):
        assert getattr(read, name) == getattr(TRIAL, name)


def test_a_trial_that_runs_is_not_read() -> None:
    tracker = MemoryTracker()
    tracker.start_trial(TRIAL)
    assert tracker.trials() == []


def test_steps_of_an_unknown_trial_are_refused() -> None:
    with pytest.raises(ValueError, match="start_trial first"):
        MemoryTracker().log_steps("f" * 64, ROWS)


def test_a_missing_student_is_an_error_and_not_an_empty_folder(tmp_path: Path) -> None:
    tracker = MemoryTracker(log_students=True)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        tracker.finish_trial(TRIAL, student=stored(tmp_path / "nowhere"), rows=[])
    assert tracker.trials() == []


class RacingRuns(MemoryRuns):
    """Another process creates the run between our last look and our creation."""

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        super().create("theirs", tags)
        return super().create(name, tags)


def test_two_processes_that_create_at_once_end_with_one_run() -> None:
    runs = RacingRuns()
    assert RunTracker(runs).start_trial(TRIAL) == "memory-1"
    assert [run.name for run in runs.runs] == ["theirs"]
    assert runs.runs[0].tags["flexkd.group"] == TRIAL.group


class RacingParams(MemoryRuns):
    """Another process records the params between our look and our request, which then fails."""

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        if params:
            super().log_params(run_id, params)
            raise RuntimeError("UNIQUE constraint failed")


def test_two_processes_that_record_params_at_once_end_with_one_set() -> None:
    runs, alone = RacingParams(), MemoryRuns()
    RunTracker(runs).start_trial(TRIAL)
    RunTracker(alone).start_trial(TRIAL)
    assert runs.runs[0].params == alone.runs[0].params != {}


class RefusingParams(MemoryRuns):
    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        raise RuntimeError("too long")


def test_params_that_are_refused_are_an_error() -> None:
    with pytest.raises(RuntimeError, match="too long"):
        RunTracker(RefusingParams()).start_trial(TRIAL)


class LosingRuns(MemoryRuns):
    """A server that goes away in the middle of a request."""

    lost = False

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        if not self.lost:
            self.lost = True
            super().log_points(run_id, points[: len(points) // 2])
            raise ConnectionError
        super().log_points(run_id, points)


def test_what_arrived_of_a_lost_request_is_not_recorded_twice() -> None:
    runs = LosingRuns()
    tracker = RunTracker(runs)
    tracker.start_trial(TRIAL)
    with pytest.raises(ConnectionError):
        tracker.log_steps(TRIAL.hash, ROWS)
    tracker.log_steps(TRIAL.hash, ROWS)
    points = [(point.key, point.step) for point in runs.runs[0].points]
    assert sorted(points) == sorted((key, row.step) for row in ROWS for key in row.values)
