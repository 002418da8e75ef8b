"""The winner of a job is chosen on validation, among the groups that finished with every seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flexkd_platform.plan import Plan
from flexkd_platform.search.choosing import winner_json
from flexkd_platform.tracking import TrialRecord

METHODS = [{"kind": "ft"}, {"kind": "kd"}]
VALIDATION = {"ft": 0.7, "kd": 0.9}


@pytest.fixture
def planned(plan: Callable[..., Plan]) -> Plan:
    return plan({"sweep.methods": METHODS, "sweep.seeds": [10, 20]})


def records(planned: Plan, validation: dict[str, float] = VALIDATION) -> list[TrialRecord]:
    """Better on test where worse on validation."""
    return [
        TrialRecord(
            hash=trial.hash,
            method=trial.method,
            params=trial.params,
            settings=trial.settings,
            seed=trial.seed,
            status="done",
            metrics={
                "validation/accuracy": validation[trial.method] + trial.seed / 1000,
                "test/accuracy": 1 - validation[trial.method],
            },
            seconds=1.0,
        )
        for trial in planned.trials
    ]


def test_validation_chooses(planned: Plan) -> None:
    (winner,) = winner_json(planned, records(planned)).values()
    assert (winner["method"], winner["n"]) == ("kd", 2)
    assert (winner["chosen_by"], winner["reported_by"]) == ("validation/accuracy", "test/accuracy")
    assert winner["mean"] == pytest.approx(0.915)


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_a_group_without_all_its_seeds_is_no_winner(planned: Plan, status: str) -> None:
    """Its seeds that finished may be those that went well."""
    found = records(planned)
    lost = next(place for place, record in enumerate(found) if record.method == "kd")
    found[lost] = replace(found[lost], status=status, metrics={})  # type: ignore[arg-type]
    assert winner_json(planned, found)["winner"]["method"] == "ft"
    assert winner_json(planned, [r for r in found if r.method == "kd"]) == {}


def test_one_seed_or_one_group_has_no_winner(plan: Callable[..., Plan], planned: Plan) -> None:
    one_seed = plan({"sweep.methods": METHODS, "sweep.seeds": [10]})
    assert winner_json(one_seed, records(one_seed)) == {}
    assert winner_json(planned, [r for r in records(planned) if r.method == "ft"]) == {}
