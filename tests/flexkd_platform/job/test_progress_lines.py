"""Progress lines: fractions of what there is, and times that can be."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from flexkd_platform.cli import progress
from flexkd_platform.cli.progress import LineView
from flexkd_platform.plan import Trial

from ..plan.conftest import Planner


@pytest.fixture
def trials(plan: Planner) -> list[Trial]:
    return list(plan({"sweep.seeds": [1, 2, 3]}).trials)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> tuple[LineView, io.StringIO]:
    """A view that prints every progress line, and what it printed."""
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    out = io.StringIO()
    return LineView(Console(file=out, width=200)), out


def check(text: str) -> None:
    assert "-" not in re.sub(r"[a-z]-[a-z]|— ", "", text), text
    for done, total in re.findall(r"(\d+)/(\d+)", text):
        assert int(total) > 0
        assert int(done) <= int(total)


def test_more_trials_end_than_were_to_run(shown: Any, trials: list[Trial]) -> None:
    """Trials of another job may come to this one, and no sweep may have started."""
    view, out = shown
    for trial in trials:
        view.trial_ended(trial, "failed", 0.0, "the teacher it needs failed")
    assert "[1/1]" in out.getvalue()
    check(out.getvalue())


def test_what_fails_before_a_trial_starts_says_nothing_of_the_time(
    shown: Any, trials: list[Trial]
) -> None:
    view, out = shown
    view.sweep_started(3, 0, 1)
    view.trial_ended(trials[0], "failed", 0.0, "the teacher it needs failed")
    assert "left" not in out.getvalue()
    view.trial_started(trials[1])
    view.trial_ended(trials[1], "done", 1.0, "test/accuracy 0.5")
    assert re.search(r"\[2/3\] .* s left", out.getvalue())
    view.trial_ended(trials[2], "done", 1.0, "test/accuracy 0.5")
    check(out.getvalue())
    assert out.getvalue().rstrip().endswith("test/accuracy 0.5")


@pytest.mark.parametrize(("done", "total"), [(0, 0), (0, 5), (3, 5), (5, 5), (6, 5), (1, 0)])
def test_progress_of_a_step_and_a_trial(
    shown: Any, trials: list[Trial], done: int, total: int
) -> None:
    view, out = shown
    step = trials[0].distill
    view.step_started(step, "teacher", None)
    view.step_progressed(step, done, total, 4)
    view.trial_progressed(trials[0], done, total, 4)
    assert len(out.getvalue().splitlines()) == (3 if total or done else 1)
    if total or done:
        check(out.getvalue())
