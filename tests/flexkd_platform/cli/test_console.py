"""Tables on a terminal and in a file: no value is hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from flexkd_platform.cli.console import print_table
from flexkd_platform.results import group_trials, leaderboard

from .test_compare import trial

SETTING = "normalise=gradient"


def test_a_long_setting_is_whole_in_a_file_and_broken_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns an ellipsis stood in place of its end."""
    first = trial("classification", "flexkd", {"accuracy": 0.5})
    params = {"normalise": "gradient", "pairing": "matched", "select": "random"}
    groups = group_trials([replace(first, params=params)], baseline=None, metrics=["test/accuracy"])
    table = leaderboard(groups, metrics=["test/accuracy"])
    print_table(table)
    shown = capsys.readouterr().out
    assert f"{SETTING}, pairing=matched, select=random" in shown
    monkeypatch.setattr(
        "flexkd_platform.cli.console.out",
        Console(width=40, force_terminal=True, no_color=True, color_system=None),
    )
    print_table(table)
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 40
