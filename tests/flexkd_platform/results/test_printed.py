"""Leaderboards as they are asked for: columns, shared settings, LaTeX, and no lost values."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from flexkd_platform.results import Group, Leaderboard, group_trials, printed
from flexkd_platform.results.latex import latex_table
from flexkd_platform.tracking import Json, TrialRecord

ACCURACY = "test/accuracy"


def trial(method: str, seed: int, value: float, **params: Json) -> TrialRecord:
    settings = {"method.kind": method, "task": "classification"} | {
        f"method.{name}": one for name, one in params.items()
    }
    return TrialRecord(
        hash=f"{method}{seed}{params}",
        method=method,
        params={**params, "rate": 0.1},
        settings={**settings, "rate": 0.1},
        seed=seed,
        status="done",
        metrics={ACCURACY: value},
        seconds=1.0,
    )


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    trials = [trial("ft", seed, 0.7 + 0.01 * seed) for seed in (1, 2, 3)]
    trials += [trial("flexkd", seed, 0.8 + 0.01 * seed * seed, alpha=0.5) for seed in (1, 2, 3)]
    trials += [trial("kd|x_y", 1, 0.75, alpha="a very long value that no terminal would show")]
    return group_trials(trials, baseline="ft", metrics=[ACCURACY])


def test_settings_that_all_rows_share_are_said_once(groups: list[Group]) -> None:
    board = Leaderboard("", groups, [ACCURACY])
    for format in ("table", "markdown"):
        text = board.text(format)
        assert text.count("rate=0.1") == 1
        assert text.splitlines()[-1] == "all rows: rate=0.1"
    assert board.text("latex").splitlines()[0].endswith("; all rows: rate=0.1")
    rows = json.loads(printed([board], "json", by_task=False))
    assert all(row["params"]["rate"] == 0.1 for row in rows), "files keep every setting"
    alone = Leaderboard("", groups[:1], [ACCURACY])
    assert "rate=0.1" in alone.text("table").splitlines()[2]


def test_text_is_as_wide_as_its_content(groups: list[Group]) -> None:
    header, rule, *rows = Leaderboard("", groups, [ACCURACY]).text("table").splitlines()
    assert len(header) == len(rule) > 80
    assert any("…" in row for row in rows)
    assert [row.split()[0] for row in rows[:3]] == ["flexkd", "kd|x_y", "ft"]
    assert all(row[: rule.index(" ")].strip() for row in rows[:3])


def test_columns_are_picked_in_order(groups: list[Group]) -> None:
    board = Leaderboard(
        "", groups, [ACCURACY], ["alpha", "n", ACCURACY, "method"], {"alpha": "method.alpha"}
    )
    lines = board.text("markdown").splitlines()
    assert lines[0] == f"| alpha | n | {ACCURACY} % | method |"
    assert lines[2].startswith("| 0.5 | 3 | 84.67 ± 4.04 | flexkd")
    assert lines[4].startswith("| – | 3 | 72.00 ± 1.00 | ft")
    rows = list(csv.reader(io.StringIO(printed([board], "csv", by_task=False))))
    assert rows[0] == [
        "alpha",
        "n",
        "pruned",
        "failed",
        f"{ACCURACY} mean",
        f"{ACCURACY} std",
        "method",
    ]
    assert [row[0] for row in rows[1:]] == [
        "0.5",
        "a very long value that no terminal would show",
        "",
    ]


def test_the_interval_and_the_comparison_are_columns(groups: list[Group]) -> None:
    board = Leaderboard("", groups, [ACCURACY], ["method", "interval", "versus"])
    assert "95% interval" in board.text("table").splitlines()[0]
    assert "vs baseline" in board.text("table").splitlines()[0]
    header = printed([board], "csv", by_task=False).splitlines()[0]
    assert f"{ACCURACY} ci95_low" in header
    assert f"{ACCURACY} versus_mean" in header
    assert f"{ACCURACY} std" not in header


def test_a_table_for_each_task(groups: list[Group]) -> None:
    boards = [Leaderboard(title, groups, [ACCURACY], more=2) for title in ("one", "two")]
    assert printed(boards, "markdown", by_task=True).count("### ") == 2
    assert printed(boards, "table", by_task=True).count("2 more groups") == 2
    assert list(json.loads(printed(boards, "json", by_task=True))) == ["one", "two"]
    rows = list(csv.reader(io.StringIO(printed(boards, "csv", by_task=True))))
    assert [row[0] for row in rows] == ["task", *["one"] * 3, *["two"] * 3]


def test_latex_is_escaped() -> None:
    text = latex_table(["a_b %", "±"], [["50% & x\\y {α}", "[1, 2]"], ["[0]", "#$~^<|>"]], 1)
    assert text.splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b \% & $\pm$ \\",
        r"\midrule",
        r"50\% \& x\textbackslash{}y \{$\alpha$\} & [1, 2] \\",
        r"{}[0] & \#\$\textasciitilde{}\textasciicircum{}\textless{}\textbar{}\textgreater{} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_terminal_gets_the_same_cells(groups: list[Group]) -> None:
    from rich.console import Console

    console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(Leaderboard("classification", groups, [ACCURACY]).rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "84.67 ± 4.04" in text
    assert "all rows: rate=0.1" in text
    assert replace(groups[0]).method in text
