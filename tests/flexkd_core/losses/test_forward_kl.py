"""Forward KL: laws first, then an independent reference, then the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from flexkd_core.losses import forward_kl


def logits(rows: int, classes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)


def test_equal_distributions_cost_nothing_and_have_no_gradient() -> None:
    x_NV = logits(5, 4, seed=0).requires_grad_()
    loss = forward_kl(x_NV, x_NV.detach() + 7, temperature=2.0)  # softmax ignores a shift
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-14)
    torch.testing.assert_close(x_NV.grad, torch.zeros(5, 4, dtype=torch.float64))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_agrees_with_scipy_entropy(temperature: float) -> None:
    s_NV, t_NV = logits(6, 9, seed=1), logits(6, 9, seed=2)
    p_NV, q_NV = (softmax(x.numpy() / temperature, axis=1) for x in (t_NV, s_NV))
    expected = np.mean([entropy(p, q) for p, q in zip(p_NV, q_NV, strict=True)]) * temperature**2
    assert forward_kl(s_NV, t_NV, temperature=temperature).item() == pytest.approx(
        expected, rel=1e-10
    )
    assert expected > 0


def test_high_temperature_limit_is_the_distance_of_centred_logits() -> None:
    # Hinton et al. 2015, Eq. 4: τ² · KL → ‖s − t‖² / 2V for logits centred per row.
    s_NV, t_NV = logits(6, 5, seed=1), logits(6, 5, seed=2)
    gap_NV = (s_NV - s_NV.mean(1, keepdim=True)) - (t_NV - t_NV.mean(1, keepdim=True))
    expected = gap_NV.square().sum(1).mean().item() / 10
    assert forward_kl(s_NV, t_NV, temperature=1e4).item() == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient(temperature: float) -> None:
    inputs = (logits(3, 4, seed=3).requires_grad_(), logits(3, 4, seed=4).requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: forward_kl(s, t, temperature=temperature), inputs)


def test_half_precision_is_computed_in_fp32() -> None:
    s_NV, t_NV = logits(3, 4, seed=3).bfloat16(), logits(3, 4, seed=4).bfloat16()
    loss = forward_kl(s_NV, t_NV)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(forward_kl(s_NV.double(), t_NV.double()).item(), rel=1e-5)


def test_no_rows_give_zero_and_a_zero_gradient() -> None:
    s_NV = logits(0, 4, seed=3).requires_grad_()
    loss = forward_kl(s_NV, logits(0, 4, seed=4))
    loss.backward()
    assert loss.item() == 0
    assert s_NV.grad is not None


def test_class_that_both_exclude_changes_nothing() -> None:
    s_NV, t_NV = logits(3, 4, seed=3), logits(3, 4, seed=4)
    excluded_N1 = torch.full((3, 1), -torch.inf, dtype=torch.float64)
    wide_NV = torch.cat([s_NV, excluded_N1], 1).requires_grad_()
    loss = forward_kl(wide_NV, torch.cat([t_NV, excluded_N1], 1))
    loss.backward()
    torch.testing.assert_close(loss, forward_kl(s_NV, t_NV))
    assert wide_NV.grad.isfinite().all()


def test_nan_reaches_the_loss() -> None:
    assert forward_kl(torch.tensor([[torch.nan, 1.0]]), torch.ones(1, 2)).isnan()
    assert forward_kl(torch.ones(1, 2), torch.tensor([[torch.nan, 1.0]])).isnan()


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="must be a positive"):
        forward_kl(torch.ones(2, 2), torch.ones(2, 2), temperature=temperature)


def test_classes_must_match() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and teacher \(4, 2\) must both be"):
        forward_kl(logits(4, 3, seed=0), logits(4, 2, seed=0))
