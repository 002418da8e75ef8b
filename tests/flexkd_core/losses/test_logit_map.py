"""Scaled and soft-capped logits, by their laws and against the formulas of two model families."""

from __future__ import annotations

import math

import pytest
import torch

from flexkd_core import LogitMap


def test_nothing_is_done_by_default() -> None:
    product = torch.tensor([-3.0, 0.0, 1e9])
    assert LogitMap()(product) is product


def test_a_cap_keeps_the_order_and_the_limit() -> None:
    product = torch.linspace(-90, 90, 61, dtype=torch.float64)
    capped = LogitMap(cap=30.0)(product)
    assert (capped.diff() > 0).all()
    assert capped.abs().max() < 30
    torch.testing.assert_close(capped, -capped.flip(0))
    # The slope at 0 is 1: small logits are what they were, off by z³ / (3 · 30²).
    assert capped[31].item() == pytest.approx(3 - 27 / 2700, abs=1e-4)
    assert capped[40].item() == pytest.approx(30 * math.tanh(1.0), rel=1e-12)


def test_a_scale_comes_before_the_cap() -> None:
    product = torch.tensor([40.0])
    assert LogitMap(scale=0.25)(product).item() == 10
    assert LogitMap(scale=0.25, cap=20.0)(product).item() == pytest.approx(20 * math.tanh(0.5))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"scale": 0.0}, "scale 0.0 must be positive and finite"),
        ({"scale": math.nan}, "scale nan must be"),
        ({"cap": -1.0}, "cap -1.0 must be"),
        ({"cap": math.inf}, "cap inf must be"),
    ],
)
def test_settings_that_make_no_logits(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LogitMap(**settings)
