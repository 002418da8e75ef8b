"""Jobs as a storage has them, written without running anything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

JOB = "quick-11111111"
METRIC = "test/accuracy"


def planned(number: int, method: str = "ft", seed: int = 1) -> dict[str, Any]:
    """A trial of `plan.json`."""
    return {"hash": f"{number:064x}", "method": method, "params": {}, "seed": seed}


def event(name: str, second: int, **what: Any) -> dict[str, Any]:
    """A line of the ledger; its time is so many seconds after 12:00."""
    minutes, seconds = divmod(second, 60)
    return {"time": f"2026-11-28T12:{minutes:02d}:{seconds:02d}.000+00:00", "event": name, **what}


def ended(number: int, second: int, status: str = "done", **what: Any) -> dict[str, Any]:
    """The end of a trial in the ledger."""
    return event("trial", second, hash=f"{number:064x}", status=status, seconds=9.0, **what)


def started(number: int, second: int) -> dict[str, Any]:
    """The start of a trial in the ledger."""
    return event("trial started", second, hash=f"{number:064x}")


def write_job(
    storage: Path,
    events: Sequence[dict[str, Any]],
    *,
    job: str = JOB,
    trials: Sequence[dict[str, Any]] = (),
    results: dict[str, Any] | str | None = None,
) -> Path:
    """The folder of a job; `results` may be a text that is no JSON."""
    folder = storage / "jobs" / job
    folder.mkdir(parents=True)
    (folder / "spec.yaml").write_text("name: quick\n", encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps({"steps": [], "trials": list(trials)}))
    lines = "".join(json.dumps(one) + "\n" for one in events)
    (folder / "ledger.jsonl").write_text(lines, encoding="utf-8")
    if results is not None:
        text = results if isinstance(results, str) else json.dumps(results)
        (folder / "results.json").write_text(text, encoding="utf-8")
    return folder


def results_of(method: str = "flexkd", *, reason: str = "") -> dict[str, Any]:
    """`results.json` of a job with a baseline and one method that is better by far."""
    spread = {"mean": 0.9, "std": 0.01, "ci95": [0.89, 0.91], "interval": [0.88, 0.92]}
    versus = {"n": 3, "mean": 0.1, "std": 0.01, "ci95": [0.08, 0.12], "interval": [0.08, 0.12]}
    versus |= {"p_t": 0.001, "p_holm": 0.002, "comparisons": 2, "verdict": "distinguishable"}
    trial = {"hash": "a" * 64, "method": method, "params": {"alpha": 0.5}, "seed": 1}
    trial |= {"status": "done", "metrics": {METRIC: 0.9}, "seconds": 9.0, "run_id": ""}
    failed = trial | {"hash": "b" * 64, "status": "failed", "metrics": {}, "reason": reason}
    group = {"method": method, "params": {"alpha": 0.5}, "n": 3, "metrics": {METRIC: spread}}
    baseline = {"method": "ft", "params": {}, "n": 3, "metrics": {METRIC: spread}, "versus": None}
    step = {"kind": "teacher", "hash": "c" * 64, "status": "ran", "seconds": 61.0}
    return {
        "job": {"name": "quick", "spec_hash": "1" * 64, "status": "done", "seconds": 60.0},
        "steps": [step],
        "teacher": {},
        "selection": [],
        "trials": [trial, *([failed] if reason else [])],
        "groups": [group | {"versus": {METRIC: versus}}, baseline],
    }
