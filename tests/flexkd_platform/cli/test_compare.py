"""`flexkd compare` ranks as the jobs did whose trials it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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


def seeded(method: str, accuracies: list[float]) -> list[TrialRecord]:
    """One trial a seed."""
    first = trial("classification", method, {})
    return [
        replace(first, hash=f"{method}{seed}", seed=seed, metrics={"test/accuracy": value})
        for seed, value in enumerate(accuracies)
    ]


def test_a_condition_on_a_result_hides_rows_and_picks_no_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mean of a row decides, and p is corrected for all comparisons, not for those shown."""
    trials = [
        *seeded("ft", [0.50, 0.52, 0.51]),
        *seeded("kd", [0.40, 0.90, 0.41]),
        *seeded("flexkd", [0.80, 0.82, 0.84]),
    ]

    def read(*args: object, where: Sequence[object], **kwargs: object) -> list[TrialRecord]:
        assert not where, "results are compared when groups are known"
        return trials

    monkeypatch.setattr("flexkd_platform.cli.compare.read_trials", read)

    def shown(*where: str) -> list[dict[str, Any]]:
        words = [word for one in where for word in ("--where", one)]
        assert main(["compare", "--storage", str(tmp_path), "--format", "json", *words]) == 0
        rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return rows

    every = {row["method"]: row for row in shown()}
    (kept,) = shown("test/accuracy>0.6")
    assert kept == every["flexkd"], "mean, n and corrected p are those of the whole table"
    assert kept["n"] == 3
    assert [row["method"] for row in shown("test/accuracy>0.56")] == ["flexkd", "kd"]
    assert main(["compare", "--storage", str(tmp_path), "--where", "test/accuracy>0.9"]) == 2
    assert "matches" in capsys.readouterr().err
