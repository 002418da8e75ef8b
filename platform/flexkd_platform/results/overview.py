"""The state of a job from its files, while it runs or after it: progress, time left, events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ..store import Holder
from .job_folder import JobFolder

JobStatus = Literal["running", "waiting", "stopped", "done", "failed", "interrupted", "empty"]
"""How a job is: `waiting` for a step that another job runs; `stopped` without having ended, as a
killed process is; `empty` if nothing of it was recorded."""

FINAL = ("done", "failed", "interrupted")
"""The last event of an attempt."""

Event = Mapping[str, Any]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial of a job's plan."""

    hash: str
    method: str
    params: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class JobOverview:
    """A job at one moment.

    started: when its last attempt began; None if it has none.
    changed: time of its last event.
    planned: trials of its plan, which grows while a search samples points.
    ended: hash → status of the trials that ended in the last attempt.
    running: the trials that have started and not ended.
    steps: kinds of the shared steps that have started and not ended.
    holder: who runs it; None if that is not known.
    seconds_left: until its trials have ended, from the time that those of this attempt took; None
        if none has ended, or the job does not run.
    events: of all attempts, oldest first.
    problem: what of its files cannot be read; "" if all can.
    """

    id: str
    status: JobStatus
    started: datetime | None = None
    changed: datetime | None = None
    planned: Sequence[PlannedTrial] = ()
    ended: Mapping[str, str] = field(default_factory=dict)
    running: Sequence[PlannedTrial] = ()
    steps: Sequence[str] = ()
    holder: Holder | None = None
    seconds_left: float | None = None
    events: Sequence[Event] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """The job's name: its id without the short hash."""
        return self.id.rpartition("-")[0] or self.id

    @property
    def counts(self) -> Counter[str]:
        """How many trials ended with each status."""
        return Counter(self.ended.values())


def job_overview(folder: JobFolder, holders: Mapping[str, Holder], now: datetime) -> JobOverview:
    """The state of a job.

    holders: of the step leases, by `kind-hash`, as `LiveHolders` reads them.

    Raises:
        OSError: the storage cannot be read.
    """
    events = folder.ledger()
    planned, problem = _planned(folder)
    if not events:
        return JobOverview(folder.id, "empty", planned=planned, problem=problem)
    attempt = _last_attempt(events)
    ended = {e["hash"]: e["status"] for e in attempt if e["event"] == "trial"}
    open_trials = {e["hash"] for e in attempt if e["event"] == "trial started"} - ended.keys()
    holder = next((h for h in holders.values() if h.job == folder.id), None)
    status = _status(attempt, holder, holders)
    alive = status == "running"
    return JobOverview(
        folder.id,
        status,
        started=_time(attempt[0]),
        changed=_time(attempt[-1]),
        planned=planned,
        ended=ended,
        running=[t for t in planned if alive and t.hash in open_trials],
        steps=_open_steps(attempt) if alive else (),
        holder=holder,
        seconds_left=_seconds_left(attempt, len(planned) - len(ended), now) if alive else None,
        events=events,
        problem=problem,
    )


def _planned(folder: JobFolder) -> tuple[list[PlannedTrial], str]:
    """The trials of `plan.json`, and why they cannot be read."""
    try:
        trials = json.loads(folder.read("plan.json"))["trials"]
        return [PlannedTrial(t["hash"], t["method"], t["params"], t["seed"]) for t in trials], ""
    except FileNotFoundError:
        return [], ""  # the job ended before it had a plan
    except (ValueError, TypeError, KeyError) as error:
        return [], f"{folder.place('plan.json')} is damaged: {error}"


def _last_attempt(events: Sequence[Event]) -> list[Event]:
    starts = [place for place, event in enumerate(events) if event["event"] == "started"]
    return list(events[starts[-1] if starts else 0 :])


def _status(
    attempt: Sequence[Event], holder: Holder | None, holders: Mapping[str, Holder]
) -> JobStatus:
    last = attempt[-1]["event"]
    if last in FINAL:
        return last  # type: ignore[no-any-return]
    if holder is not None:
        return "running"
    waited = {f"{e['kind']}-{e['hash']}" for e in attempt if e["event"] == "waiting"}
    return "waiting" if waited & holders.keys() else "stopped"


def _open_steps(attempt: Sequence[Event]) -> list[str]:
    """The kinds of the shared steps that have started and not ended."""
    started = {e["hash"]: e["kind"] for e in attempt if e["event"] == "step started"}
    for event in attempt:
        if event["event"] == "step":
            started.pop(event["hash"], None)
    return list(started.values())


def _seconds_left(attempt: Sequence[Event], remaining: int, now: datetime) -> float | None:
    """The wall time of a trial of this attempt, all workers together, times those that remain."""
    starts = [_time(e) for e in attempt if e["event"] == "trial started"]
    ends = [_time(e) for e in attempt if e["event"] == "trial" and e["status"] != "reused"]
    if not starts or not ends or starts[0] is None or ends[-1] is None:
        return None
    each = (ends[-1] - starts[0]).total_seconds() / len(ends)
    return max(0.0, each * remaining - max(0.0, (now - ends[-1]).total_seconds()))


def _time(event: Event) -> datetime | None:
    with suppress(KeyError, TypeError, ValueError):
        return datetime.fromisoformat(event["time"])
    return None
