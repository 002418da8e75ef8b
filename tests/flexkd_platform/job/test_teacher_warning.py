"""Groups of students that are as good as their teacher are named."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flexkd_platform.job import Outcome, no_worse_than_teacher, results_json
from flexkd_platform.plan import Plan
from flexkd_platform.store import Store, open_store
from flexkd_platform.tracking import TrialRecord

ACCURACY = "test/accuracy"
VALUES = {"ft": 0.6, "kd": 0.8}


def outcome_of(planned: Plan) -> Outcome:
    outcome = Outcome(planned, status="running")
    for trial in planned.trials:
        metrics = {ACCURACY: VALUES[trial.method]}
        outcome.trials[trial.hash] = TrialRecord(
            trial.hash, trial.method, trial.params, trial.settings, trial.seed, "done", metrics, 1.0
        )
    return outcome


@pytest.mark.parametrize(
    ("teacher", "named"), [(0.9, set()), (0.8, {"kd"}), (0.5, {"kd", "ft"}), (None, set())]
)
def test_as_good_is_not_better(
    plan: Callable[..., Plan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    teacher: float | None,
    named: set[str],
) -> None:
    planned = plan({"sweep.methods": [{"kind": "ft"}, {"kind": "kd"}]})
    outcome, store = outcome_of(planned), open_store(str(tmp_path))
    measured = {} if teacher is None else {"metrics": {ACCURACY: teacher}}

    def teacher_json(_: Plan, __: Store) -> dict[str, object]:
        return measured

    # The module, which its package hides behind the function of the same name.
    module = sys.modules["flexkd_platform.job.results_json"]
    monkeypatch.setattr(module, "teacher_json", teacher_json)
    found = no_worse_than_teacher(outcome, outcome.groups(store), store)
    assert {group.method for group in found} == named
    told = results_json(outcome, store)["teacher"].get("no_worse", [])
    assert {entry["method"] for entry in told} == named


def test_a_lower_error_is_better(
    plan: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan({"sweep.methods": [{"kind": "ft"}, {"kind": "kd"}]})
    outcome, store = outcome_of(planned), open_store(str(tmp_path))
    module = sys.modules["flexkd_platform.job.results_json"]
    measured = {"metrics": {ACCURACY: 0.7}}
    monkeypatch.setattr(module, "teacher_json", lambda plan, store: measured)
    monkeypatch.setattr(module, "lower_is_better", lambda metric: True)
    found = no_worse_than_teacher(outcome, outcome.groups(store), store)
    assert {group.method for group in found} == {"ft"}
