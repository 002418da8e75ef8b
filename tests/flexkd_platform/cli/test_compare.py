"""`flexkd compare` ranks as the jobs did whose trials it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.spec import TASK_KINDS, Metric
from flexkd_platform.tracking import TrialRecord


def trial(task: str, method: str, metrics: Mapping[Metric, float]) -> TrialRecord:
    return TrialRecord(
        hash=method * 3,
        method=method,
        params={},
        settings={"method.kind": method, "task": task},
        seed=1,
        status="done",
        metrics={f"test/{name}": value for name, value in metrics.items()},
        seconds=1.0,
    )


@pytest.mark.parametrize("task", TASK_KINDS)
def test_the_first_metric_of_the_task_ranks(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Summaries are ranked by ROUGE-2 and instructions by ROUGE-L, though both have both."""
    first, *others = [
        metric for metric in TASK_KINDS[task].metrics if metric not in TASK_KINDS[task].on_request
    ]
    better = trial(task, "flexkd", {first: 0.9} | dict.fromkeys(others, 0.1))
    worse = trial(task, "ft", {first: 0.2} | dict.fromkeys(others, 0.8))
    monkeypatch.setattr(
        "flexkd_platform.cli.compare.read_trials", lambda *args, **kwargs: [worse, better]
    )
    assert main(["compare", "--storage", str(tmp_path), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["flexkd", "ft"]
    assert next(iter(rows[0]["metrics"])) == f"test/{first}"
