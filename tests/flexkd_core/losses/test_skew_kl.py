"""Skew forward and reverse KL: their ends and bounds, and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from flexkd_core.losses import forward_kl, reverse_kl, skew_forward_kl, skew_reverse_kl

from .drawn import logits

BOTH = pytest.mark.parametrize("loss", [skew_forward_kl, skew_reverse_kl])


def test_without_skew_they_are_forward_and_reverse_kl() -> None:
    s_NV, t_NV = logits(0), logits(1)
    assert torch.equal(skew_forward_kl(s_NV, t_NV, skew=0.0), forward_kl(s_NV, t_NV))
    assert torch.equal(skew_reverse_kl(s_NV, t_NV, skew=0.0), reverse_kl(s_NV, t_NV))


def test_swapped_sides_exchange_the_two() -> None:
    s_NV, t_NV = logits(0), logits(1)
    torch.testing.assert_close(skew_forward_kl(s_NV, t_NV), skew_reverse_kl(t_NV, s_NV))


@pytest.mark.parametrize("skew", [0.1, 0.4])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_agree_with_the_definitions_in_probabilities(skew: float, temperature: float) -> None:
    s_NV, t_NV = logits(2), logits(3)
    p_s, p_t = (softmax(x.numpy() / temperature, axis=1) for x in (s_NV, t_NV))
    forward_N = rel_entr(p_t, skew * p_t + (1 - skew) * p_s).sum(1) * temperature**2
    reverse_N = rel_entr(p_s, (1 - skew) * p_t + skew * p_s).sum(1) * temperature**2
    settings = {"skew": skew, "temperature": temperature, "reduction": "none"}
    np.testing.assert_allclose(skew_forward_kl(s_NV, t_NV, **settings), forward_N, rtol=1e-9)
    np.testing.assert_allclose(skew_reverse_kl(s_NV, t_NV, **settings), reverse_N, rtol=1e-9)


@BOTH
@pytest.mark.parametrize("skew", [0.1, 0.5])
def test_disjoint_distributions_cost_the_bound(loss, skew: float) -> None:
    s_NV, t_NV = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    assert loss(s_NV, t_NV, skew=skew).item() == pytest.approx(-np.log(skew))


@BOTH
def test_default_skew_is_a_tenth(loss) -> None:
    assert torch.equal(loss(logits(0), logits(1)), loss(logits(0), logits(1), skew=0.1))


@BOTH
@pytest.mark.parametrize("skew", [-0.1, 1.0, float("nan")])
def test_skew_must_be_below_one(loss, skew: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        loss(logits(0), logits(1), skew=skew)
