"""The state of a job from its ledger, plan and the leases of its storage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.results import JobFolder, JobOverview, job_overview
from flexkd_platform.store import Holder, open_store

JOB = "quick-11111111"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ANNA = Holder("anna", "node-1", 7, JOB)
BOB = Holder("bob", "node-2", 8, "other-22222222")


def event(name: str, second: float, **what: Any) -> dict[str, Any]:
    return {"time": (NOON + timedelta(seconds=second)).isoformat(), "event": name, **what}


def trial(number: int) -> dict[str, Any]:
    return {"hash": str(number), "method": "ft", "params": {}, "seed": number}


def overview(
    storage: Path,
    events: Sequence[dict[str, Any]],
    *,
    trials: int = 4,
    holders: Mapping[str, Holder] | None = None,
    second: float = 100,
) -> JobOverview:
    folder = JobFolder(open_store(str(storage)), JOB)
    folder.write("plan.json", json.dumps({"trials": [trial(n) for n in range(trials)]}))
    folder.write("ledger.jsonl", "".join(json.dumps(one) + "\n" for one in events))
    return job_overview(folder, holders or {}, NOON + timedelta(seconds=second))


RUNNING = [
    event("started", 0, trials=4),
    event("step started", 1, kind="teacher", hash="t"),
    event("step", 20, kind="teacher", hash="t", status="ran"),
    event("step started", 21, kind="score", hash="s"),
    event("trial", 22, hash="3", status="reused"),
    event("trial started", 30, hash="0"),
    event("trial started", 30, hash="1"),
    event("trial", 50, hash="0", status="done"),
]


def test_a_job_that_runs(tmp_path: Path) -> None:
    job = overview(tmp_path, RUNNING, holders={"distill-1": ANNA}, second=55)
    assert job.status == "running"
    assert job.holder == ANNA
    assert [one.hash for one in job.running] == ["1"]
    assert job.steps == ["score"]
    assert job.counts == {"done": 1, "reused": 1}
    assert job.started == NOON
    # One trial took 20 s with all workers; two remain, and 5 s have passed since it ended.
    assert job.seconds_left == pytest.approx(2 * 20 - 5)


def test_time_left_does_not_become_negative(tmp_path: Path) -> None:
    job = overview(tmp_path, RUNNING, holders={"distill-1": ANNA}, second=9999)
    assert job.seconds_left == 0


def test_time_left_is_unknown_before_a_trial_has_ended(tmp_path: Path) -> None:
    job = overview(tmp_path, RUNNING[:-1], holders={"distill-1": ANNA})
    assert job.seconds_left is None


def test_a_killed_job_is_stopped_and_nothing_of_it_runs(tmp_path: Path) -> None:
    job = overview(tmp_path, RUNNING, holders={"distill-9": BOB})
    assert job.status == "stopped"
    assert job.running == []
    assert job.steps == ()
    assert job.seconds_left is None


def test_a_job_that_waits_for_another(tmp_path: Path) -> None:
    waiting = [*RUNNING[:1], event("waiting", 2, kind="teacher", hash="t", holder={})]
    assert overview(tmp_path, waiting, holders={"teacher-t": BOB}).status == "waiting"
    assert overview(tmp_path, waiting).status == "stopped"


@pytest.mark.parametrize("last", ["done", "failed", "interrupted"])
def test_a_job_that_has_ended(tmp_path: Path, last: str) -> None:
    job = overview(tmp_path, [*RUNNING, event(last, 60)], holders={"distill-1": ANNA})
    assert job.status == last
    assert job.changed == NOON + timedelta(seconds=60)


def test_only_the_last_attempt_counts(tmp_path: Path) -> None:
    again = [
        *RUNNING,
        event("failed", 60),
        event("started", 70, trials=4),
        event("trial", 71, hash="0", status="reused"),
        event("trial", 72, hash="2", status="pruned", reason="slow"),
        event("done", 80),
    ]
    job = overview(tmp_path, again)
    assert job.counts == {"reused": 1, "pruned": 1}
    assert job.started == NOON + timedelta(seconds=70)
    assert len(job.events) == len(again)


def test_a_job_without_events(tmp_path: Path) -> None:
    job = overview(tmp_path, [])
    assert job.status == "empty"
    assert job.name == "quick"


def test_damage_is_named_and_what_is_left_is_shown(tmp_path: Path) -> None:
    overview(tmp_path, RUNNING)
    folder = JobFolder(open_store(str(tmp_path)), JOB)
    folder.write("plan.json", '{"trials": 3}')
    ledger = folder.read("ledger.jsonl")
    folder.write("ledger.jsonl", ledger + '{"event": "tri')
    job = job_overview(folder, {"distill-1": ANNA}, NOON)
    assert "plan.json is damaged" in job.problem
    assert job.status == "running"
    assert len(job.events) == len(RUNNING)
