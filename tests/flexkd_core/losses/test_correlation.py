"""Correlation loss: laws first, then an independent reference, then the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexkd_core.losses import correlation_loss, unit_correlation


def features(rows: int, units: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, units, dtype=torch.float64, generator=generator).to(dtype)


def test_identical_features_cost_nothing() -> None:
    x_NS = features(8, 5, seed=0)
    assert correlation_loss(x_NS, x_NS).item() == pytest.approx(0, abs=1e-12)


def test_opposite_features_cost_four_per_unit() -> None:
    x_NS = features(6, 3, seed=3)
    assert correlation_loss(-x_NS, x_NS).item() == pytest.approx(12)
    assert correlation_loss(-x_NS, x_NS, reduction="mean").item() == pytest.approx(4)


@settings(max_examples=25)
@given(scale=st.floats(0.1, 10), shift=st.floats(-10, 10))
def test_invariant_to_positive_scale_and_shift_per_unit(scale: float, shift: float) -> None:
    s_NS, t_NS = features(9, 4, seed=1), features(9, 4, seed=2)
    units_S = torch.arange(1, 5, dtype=torch.float64)
    torch.testing.assert_close(
        correlation_loss(s_NS * scale * units_S + shift * units_S, t_NS),
        correlation_loss(s_NS, t_NS),
    )


def test_independent_of_the_order_of_the_rows() -> None:
    s_NS, t_NS = features(9, 4, seed=1), features(9, 4, seed=2)
    torch.testing.assert_close(
        correlation_loss(s_NS.flip(0), t_NS.flip(0)), correlation_loss(s_NS, t_NS)
    )


def test_agrees_with_numpy_corrcoef() -> None:
    s_NS, t_NS = features(11, 7, seed=4), features(11, 7, seed=5)
    expected_S = np.array([np.corrcoef(s_NS[:, m], t_NS[:, m])[0, 1] for m in range(7)])
    np.testing.assert_allclose(unit_correlation(s_NS, t_NS), expected_S, rtol=1e-10)
    loss = correlation_loss(s_NS, t_NS).item()
    assert loss == pytest.approx(((1 - expected_S) ** 2).sum(), rel=1e-10)
    assert correlation_loss(s_NS, t_NS, reduction="mean").item() == pytest.approx(loss / 7)


def test_fp32_agrees_with_fp64_also_for_small_features() -> None:
    s_NS, t_NS = features(11, 7, seed=4), features(11, 7, seed=5)
    narrow = correlation_loss((s_NS * 1e-12).float(), (t_NS * 1e-12).float())
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(correlation_loss(s_NS, t_NS).item(), rel=1e-5)


def test_half_precision_is_computed_in_fp32() -> None:
    s_NS, t_NS = features(7, 3, 0, torch.bfloat16), features(7, 3, 1, torch.bfloat16)
    loss = correlation_loss(s_NS, t_NS)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        correlation_loss(s_NS.double(), t_NS.double()).item(), rel=1e-5
    )


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_gradient(reduction: str) -> None:
    s_NS = features(5, 3, seed=6).requires_grad_()
    t_NS = features(5, 3, seed=7).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s, t: correlation_loss(s, t, reduction=reduction), (s_NS, t_NS)
    )


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_too_few_rows_give_zero_and_a_zero_gradient(rows: int, reduction: str) -> None:
    s_NS = features(rows, 4, seed=8).requires_grad_()
    loss = correlation_loss(s_NS, features(rows, 4, seed=9), reduction=reduction)
    loss.backward()
    assert loss.item() == 0
    assert not s_NS.grad.any()


# 0.1 over 7 rows leaves its last bit after centring: rounding must not count as variance.
@pytest.mark.parametrize("constant", [0.0, 3.0, 0.1, -1e6 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_dead_unit_counts_as_uncorrelated_with_no_gradient(
    constant: float, dtype: torch.dtype, side: str
) -> None:
    s_NS, t_NS = features(7, 2, 10, dtype), features(7, 2, 11, dtype)
    (s_NS if side == "student" else t_NS)[:, 0] = constant
    s_NS.requires_grad_()
    correlation_loss(s_NS, t_NS).backward()
    assert unit_correlation(s_NS, t_NS)[0] == 0
    assert not s_NS.grad[:, 0].any()
    assert s_NS.grad[:, 1].any()


def test_nan_reaches_the_loss() -> None:
    s_NS = features(5, 2, seed=0)
    s_NS[1, 1] = torch.nan
    assert correlation_loss(s_NS, features(5, 2, seed=1)).isnan()


def test_shapes_must_match() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and teacher \(4, 2\) must both be"):
        correlation_loss(features(4, 3, seed=0), features(4, 2, seed=0))
    with pytest.raises(ValueError, match="must both be"):
        unit_correlation(torch.ones(3), torch.ones(3))


def test_reduction_must_be_known() -> None:
    with pytest.raises(ValueError, match="'max' is not one of 'sum', 'mean'"):
        correlation_loss(torch.ones(2, 2), torch.ones(2, 2), reduction="max")  # type: ignore[arg-type]


# --- weights -----------------------------------------------------------------------------------


def test_weights_are_scaled_to_their_number() -> None:
    s_NS, t_NS = features(11, 4, seed=4), features(11, 4, seed=5)
    weights_S = torch.tensor([0.0, 3e-30, 1e-30, 6e-30], dtype=torch.float64)
    expected_S = np.array([np.corrcoef(s_NS[:, m], t_NS[:, m])[0, 1] for m in range(4)])
    expected = ((1 - expected_S) ** 2 * np.array([0, 1.2, 0.4, 2.4])).sum()
    assert correlation_loss(s_NS, t_NS, weights_S=weights_S).item() == pytest.approx(expected)
    mean = correlation_loss(s_NS, t_NS, weights_S=weights_S, reduction="mean")
    assert mean.item() == pytest.approx(expected / 4)
    plain = correlation_loss(s_NS, t_NS)
    equal = correlation_loss(s_NS, t_NS, weights_S=torch.full((4,), 7.0))
    torch.testing.assert_close(equal, plain)


def test_a_unit_of_weight_0_has_no_gradient() -> None:
    s_NS = features(6, 3, seed=0).requires_grad_()
    loss = correlation_loss(s_NS, features(6, 3, seed=1), weights_S=torch.tensor([1.0, 0.0, 1.0]))
    (gradient_NS,) = torch.autograd.grad(loss, s_NS)
    assert not gradient_NS[:, 1].any()
    assert gradient_NS[:, 0].any()


def test_gradcheck_with_weights() -> None:
    weights_S = torch.tensor([1.0, 5.0, 0.5], dtype=torch.float64)
    t_NS = features(5, 3, seed=8)
    assert torch.autograd.gradcheck(
        lambda s_NS: correlation_loss(s_NS, t_NS, weights_S=weights_S),
        features(5, 3, seed=7).requires_grad_(),
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1.0], "do not fit 3 units"),
        ([1.0, -1.0, 1.0], "must be finite, not negative"),
        ([1.0, float("nan"), 1.0], "must be finite, not negative"),
        ([0.0, 0.0, 0.0], "not all 0"),
    ],
)
def test_wrong_weights(weights: list[float], message: str) -> None:
    x_NS = features(4, 3, seed=0)
    with pytest.raises(ValueError, match=message):
        correlation_loss(x_NS, x_NS, weights_S=torch.tensor(weights))


def test_weights_keep_the_range_and_move_the_loss_to_the_heavy_units() -> None:
    s_NS = features(6, 3, seed=3)
    t_NS = torch.cat([-s_NS[:, :1], s_NS[:, 1:]], dim=1)  # costs 4, 0, 0
    only_S = torch.tensor([1.0, 0.0, 0.0])
    assert correlation_loss(s_NS, t_NS, weights_S=only_S).item() == pytest.approx(12)
    assert correlation_loss(s_NS, t_NS, weights_S=1 - only_S).item() == pytest.approx(0, abs=1e-12)
    loss = correlation_loss(s_NS[:1], t_NS[:1], weights_S=only_S)
    assert loss.item() == 0


def test_weights_of_half_precision_features() -> None:
    s_NS, t_NS = features(9, 3, 0, torch.bfloat16), features(9, 3, 1, torch.bfloat16)
    weights_S = torch.tensor([1e-30, 3e-30, 2e-30], dtype=torch.float64)
    loss = correlation_loss(s_NS, t_NS, weights_S=weights_S)
    assert loss.dtype == torch.float32
    wide = correlation_loss(s_NS.double(), t_NS.double(), weights_S=weights_S)
    assert loss.item() == pytest.approx(wide.item(), rel=1e-5)
