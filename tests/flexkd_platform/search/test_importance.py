"""The importance of settings."""

from __future__ import annotations

import math
import random

import pytest

from flexkd_platform.search import setting_importance
from flexkd_platform.tracking import Json


def points(count: int = 60) -> list[dict[str, Json]]:
    draw = random.Random(0)
    return [
        {
            "alpha": 10 ** draw.uniform(-3, 0),
            "rate": draw.uniform(0, 1),
            "pairing": draw.choice(["rank", "matched"]),
            "epochs": 2,
        }
        for _ in range(count)
    ]


def test_the_setting_that_decides_comes_first() -> None:
    by_alpha = setting_importance(points(), [math.log10(float(p["alpha"])) for p in points()])
    assert next(iter(by_alpha)) == "alpha"
    assert by_alpha["alpha"] > 0.8
    by_pairing = setting_importance(points(), [float(p["pairing"] == "rank") for p in points()])
    assert next(iter(by_pairing)) == "pairing"


def test_shares_add_up_and_what_does_not_vary_has_none() -> None:
    found = setting_importance(points(), [float(p["rate"]) for p in points()])
    assert sum(found.values()) == pytest.approx(1)
    assert "epochs" not in found
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found == setting_importance(points(), [float(p["rate"]) for p in points()])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_points_say_nothing(count: int) -> None:
    assert setting_importance(points(count), list(range(count))) == {}


def test_equal_results_or_equal_points_say_nothing() -> None:
    assert setting_importance(points(), [0.5] * 60) == {}
    assert setting_importance([{"alpha": 1.0}] * 9, list(range(9))) == {}
