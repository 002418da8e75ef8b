"""Conditions on trials: the grammar, its errors, and what each comparison selects."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from flexkd_platform.spec import SpecError
from flexkd_platform.tracking import TrialRecord, parse_where
from flexkd_platform.tracking.selecting import matching

ANNA = TrialRecord(
    hash="a",
    method="flexkd",
    params={"alpha": 0.5},
    settings={
        "task": "classification",
        "dataset.name": "movie-reviews",
        "method.alpha": 0.5,
        "method.on_policy": None,
        "distill.learning_rate": 3e-4,
        "teacher.learning_rate": 5e-5,
        "distill.epochs": 2.0,
        "layers": ["last", 1],
    },
    seed=10,
    status="done",
    metrics={"test/accuracy": 0.75},
    seconds=30.0,
    users=("anna", "bob"),
    jobs=("j1", "j2"),
    experiment="quickstart",
    started=datetime(2026, 11, 1, 23, 59).timestamp(),
    tags={"team": "red and blue"},
)
FT = replace(
    ANNA,
    hash="b",
    method="ft",
    params={},
    settings={"task": "regression", "distill.epochs": 2, "distill.learning_rate": 3e-4},
    metrics={"test/mse": 0.1},
    users=("o'hara",),
    jobs=(),
    started=datetime(2026, 11, 2).timestamp(),
    tags={},
)


def selected(*conditions: str) -> str:
    found = matching([ANNA, FT], parse_where(conditions), job_ids={"j2": "tour-1234"})
    return "".join(trial.hash for trial in found)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("alpha>=0.1 and method in (flexkd, kd) and user=anna and started>=2026-11-01", "a"),
        ("alpha=0.50", "a"),
        ("α<0.5", ""),
        ("method.alpha == 5e-1", "a"),
        ("alpha!=0.5", "b"),  # a trial without it is not equal
        ("alpha not in (0.1, 0.2)", "ab"),
        ("alpha=null", "b"),
        ("method.on_policy=null", "ab"),
        ("epochs=2", "ab"),  # 2 and 2.0
        ("layers=last", "a"),  # one of several
        ("task=regression", "b"),
        ("task=movie-reviews", "a"),
        ("user in (bob, eve)", "a"),
        ('user="o\'hara"', "b"),
        ("user!=bob", "b"),
        ("job=j1", "a"),
        ("job=tour-1234", "a"),
        ("job~tour", "a"),
        ("experiment=quickstart AND seed<=10", "ab"),
        ("started=2026-11-01", "a"),
        ("started<=2026-11-01", "a"),
        ("started>2026-11-01", "b"),
        ("started<2026-11-01T23:59", ""),
        ("started=2026-11-01T23:59", "a"),
        ("started!=2026-11-01", "b"),
        ("test/accuracy>0.7", "a"),
        ("tags.team='red and blue'", "a"),
        ("tags.team~BLUE", "a"),
        ("status=done", "ab"),
    ],
)
def test_a_condition_selects(condition: str, expected: str) -> None:
    assert selected(condition) == expected


def test_a_metric_is_the_mean_of_the_group() -> None:
    """Of the seeds that the other conditions leave: none is picked for its result."""
    second = replace(ANNA, hash="c", seed=20, metrics={"test/accuracy": 0.25}, seconds=90.0)
    unfinished = replace(ANNA, hash="d", seed=30, metrics={}, status="failed")
    trials = [ANNA, second, unfinished]

    def kept(*conditions: str) -> str:
        return "".join(t.hash for t in matching(trials, parse_where(conditions), job_ids={}))

    assert kept("test/accuracy=0.5") == "acd"
    assert kept("test/accuracy>0.7") == ""
    assert kept("test/accuracy>0.7", "seed=10") == "a"
    assert kept("seconds>=60 and status=done") == "ac"


def test_all_conditions_must_hold() -> None:
    assert selected("seed=10", "method=ft") == "b"
    assert selected() == "ab"


@pytest.mark.parametrize(
    ("condition", "caret", "message"),
    [
        ("alpha>=0.1 or method=kd", 11, "`or` is not supported"),
        ("alpha", 5, "an operator expected, given the end"),
        ("alpha >= ", 9, "a value expected, given the end"),
        ("", 0, "a name expected"),
        ("method in flexkd", 10, "`(` expected"),
        ("method in (flexkd", 17, "`,` or `)` expected"),
        ("user='anna", 5, "close the quotes"),
        ("user=red blue", 9, "`and` expected, given 'blue'"),
        ("alpah=0.1", 0, "did you mean 'alpha'?"),
        ("seed=10 and test/acuracy>0.5", 12, "did you mean 'test/accuracy'?"),
        ("method>flexkd", 0, "is not comparable"),
        ("started>yesterday", 0, "give a date as 2026-11-01"),
        ("learning_rate=3e-4", 0, "write one of distill.learning_rate, teacher.learning_rate"),
    ],
)
def test_an_error_shows_its_place(condition: str, caret: int, message: str) -> None:
    with pytest.raises(SpecError) as error:
        selected(condition)
    lines = str(error.value).splitlines()
    assert message in str(error.value)
    assert lines[1] == f"      {condition}"
    assert lines[2] == f"{' ' * (6 + caret)}^"


def test_every_condition_is_checked() -> None:
    with pytest.raises(SpecError) as error:
        parse_where(["seed=", "seed=1", "or"], "--where")
    assert [problem.path for problem in error.value.problems] == ["--where", "--where"]
