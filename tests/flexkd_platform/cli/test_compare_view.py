"""Options of `flexkd compare`: rows, order, columns, tasks and their problems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.tracking import Json, TrialRecord


def trial(method: str, seed: int, *, task: str = "classification", **params: Json) -> TrialRecord:
    value = {"ft": 0.5, "kd": 0.6, "flexkd": 0.7}[method] + 0.01 * seed
    name = "test/accuracy" if task == "classification" else "test/mse"
    settings = {f"method.{key}": one for key, one in params.items()}
    return TrialRecord(
        hash=f"{method}{seed}{task}{params}",
        method=method,
        params=params,
        settings={"task": task, "dataset.name": "files", "dataset.fingerprint": "ab" * 32}
        | settings,
        seed=seed,
        status="done",
        metrics={name: value, "validation/accuracy": 1 - value},
        seconds=1.0,
    )


ONE_TASK = [
    trial(method, seed, **({} if method == "ft" else {"alpha": alpha}))
    for method, alpha in (("ft", 0), ("kd", 0.5), ("flexkd", 0.5), ("flexkd", 0.05))
    for seed in (1, 2)
]
TWO_TASKS = [*ONE_TASK, *(trial("ft", seed, task="regression") for seed in (1, 2))]


class Command:
    def __init__(
        self, trials: list[TrialRecord], tmp_path: Path, patch: pytest.MonkeyPatch
    ) -> None:
        patch.setattr("flexkd_platform.cli.compare.read_trials", lambda *a, **k: trials)
        self.storage = str(tmp_path)

    def __call__(self, *options: str) -> int:
        return main(["compare", "--storage", self.storage, *options])


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(ONE_TASK, tmp_path, monkeypatch)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(TWO_TASKS, tmp_path, monkeypatch)


Shown = pytest.CaptureFixture[str]


def rows(capsys: Shown) -> list[tuple[str, Json]]:
    found = json.loads(capsys.readouterr().out)
    return [(row["method"], row["params"].get("alpha")) for row in found]


def test_rows_are_sorted_and_limited(one: Command, capsys: Shown) -> None:
    assert one("--json", "--sort", "alpha") == 0
    ordered = rows(capsys)
    assert [alpha for _, alpha in ordered] == [0.05, 0.5, 0.5, None]
    assert one("--json", "--sort", "-alpha", "--limit", "2") == 0
    assert [alpha for _, alpha in rows(capsys)] == [0.5, 0.5]
    assert one("--json", "--sort", "validation/accuracy") == 0
    assert [method for method, _ in rows(capsys)][:2] == ["ft", "kd"]  # the best first
    assert one("--limit", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 more groups; --limit shows more"


def test_columns(one: Command, capsys: Shown) -> None:
    assert one("--columns", "method, alpha,validation/accuracy", "--format", "csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "method,alpha,validation/accuracy mean,validation/accuracy std"
    assert lines[-1].startswith("ft,,0.48"), "test/accuracy ranks, though it is not shown"


def test_tasks_never_share_a_ranking(two: Command, capsys: Shown) -> None:
    assert two() == 0
    text = capsys.readouterr().out
    assert [line for line in text.splitlines() if "abab" in line] == [
        "classification, files abababab",
        "regression, files abababab",
    ]
    assert two("--format", "csv") == 2
    assert "2 tasks, and a ranking has one" in capsys.readouterr().err
    assert two("--json", "--by", "task") == 0
    found = json.loads(capsys.readouterr().out)
    assert [len(ours) for ours in found.values()] == [4, 1]


def test_a_single_task_is_named_on_request(one: Command, capsys: Shown) -> None:
    assert one("--by", "task", "--format", "markdown") == 0
    assert capsys.readouterr().out.startswith("### classification, files abababab")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sort", "alhpa"], "did you mean 'alpha'?"),
        (["--columns", "metod"], "did you mean 'method'?"),
        (["--metric", "test/acuracy"], "did you mean 'test/accuracy'?"),
        (["--baseline", "flexdk"], "did you mean 'flexkd'?"),
        (["--format", "latx"], "did you mean 'latex'?"),
        (["--by", "user"], "--by: unknown 'user'"),
        (["--json", "--columns", "n"], "JSON always has all columns"),
        (["--where", "alpha>"], "--where: a value expected"),
        (["--basline", "ft"], "--baseline"),
    ],
)
def test_wrong_options_are_told(
    options: list[str], message: str, one: Command, capsys: Shown
) -> None:
    assert one(*options) == 2
    assert message in capsys.readouterr().err
