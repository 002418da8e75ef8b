"""Generalised JSD: its ends and symmetry, scipy, and the numbers of TRL."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from flexkd_core.losses import forward_kl, jsd, reverse_kl

from .drawn import logits

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "trl_jsd.json").read_text())
"""Written by golden/make_trl_jsd.py."""


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_ends_are_forward_and_reverse_kl_exactly(temperature: float) -> None:
    s_NV, t_NV = logits(0), logits(1)
    ends = [jsd(s_NV, t_NV, beta=beta, temperature=temperature) for beta in (0, 1)]
    assert torch.equal(ends[0], forward_kl(s_NV, t_NV, temperature=temperature))
    assert torch.equal(ends[1], reverse_kl(s_NV, t_NV, temperature=temperature))


def test_slopes_at_the_ends_are_forward_and_reverse_kl() -> None:
    s_NV, t_NV = logits(0) / 3, logits(1) / 3
    forward, reverse = forward_kl(s_NV, t_NV).item(), reverse_kl(s_NV, t_NV).item()
    assert jsd(s_NV, t_NV, beta=1e-6).item() / 1e-6 == pytest.approx(forward, rel=1e-4)
    assert jsd(s_NV, t_NV, beta=1 - 1e-6).item() / 1e-6 == pytest.approx(reverse, rel=1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5])
def test_swapping_sides_and_weights_changes_nothing(beta: float) -> None:
    s_NV, t_NV = logits(0), logits(1)
    torch.testing.assert_close(jsd(s_NV, t_NV, beta=beta), jsd(t_NV, s_NV, beta=1 - beta))


def test_disjoint_distributions_cost_the_entropy_of_beta() -> None:
    s_NV, t_NV = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    for beta in (0.1, 0.5):
        expected = -beta * np.log(beta) - (1 - beta) * np.log(1 - beta)
        assert jsd(s_NV, t_NV, beta=beta).item() == pytest.approx(expected, rel=1e-6)


def test_agrees_with_the_squared_distance_of_scipy() -> None:
    s_NV, t_NV = logits(2), logits(3)
    p_NV, q_NV = (softmax(x.numpy(), axis=1) for x in (s_NV, t_NV))
    expected_N = jensenshannon(p_NV, q_NV, axis=1) ** 2
    np.testing.assert_allclose(jsd(s_NV, t_NV, reduction="none").numpy(), expected_N, rtol=1e-9)


@pytest.mark.parametrize("beta", [0.05, 0.5, 0.8])
@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_agrees_with_the_definition_in_probabilities(beta: float, temperature: float) -> None:
    s_NV, t_NV = logits(2), logits(3)
    p_s, p_t = (softmax(x.numpy() / temperature, axis=1) for x in (s_NV, t_NV))
    mixture = beta * p_t + (1 - beta) * p_s
    expected_N = beta * rel_entr(p_t, mixture).sum(1) + (1 - beta) * rel_entr(p_s, mixture).sum(1)
    found_N = jsd(s_NV, t_NV, beta=beta, temperature=temperature, reduction="none")
    np.testing.assert_allclose(found_N.numpy(), expected_N * temperature**2, rtol=1e-9)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['beta']}-{c['temperature']}")
def test_agrees_with_trl(case: dict) -> None:
    # TRL leaves the factor τ² out.
    s_NV, t_NV = (torch.tensor(GOLDEN[k], dtype=torch.float64) for k in ("student", "teacher"))
    expected_N = torch.tensor(case["rows"], dtype=torch.float64) * case["temperature"] ** 2
    settings = {"beta": case["beta"], "temperature": case["temperature"]}
    torch.testing.assert_close(
        jsd(s_NV, t_NV, reduction="none", **settings), expected_N, rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_gradient(beta: float) -> None:
    inputs = (logits(0)[:3, :4].requires_grad_(), logits(1)[:3, :4].requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: jsd(s, t, beta=beta, temperature=2.0), inputs)


# --- scaled by 1 / (β(1 − β)) ------------------------------------------------------------------


def value_and_gradient(loss: Any, s_NV: torch.Tensor, t_NV: torch.Tensor) -> list[torch.Tensor]:
    sides = [x.clone().requires_grad_() for x in (s_NV, t_NV)]
    value = loss(*sides)
    return [value.detach(), *torch.autograd.grad(value, sides)]


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize(("end", "limit"), [(0, forward_kl), (1, reverse_kl)])
def test_scaled_is_continuous_at_both_ends(end: int, limit: Any, temperature: float) -> None:
    """The distance to the end's divergence falls with β: tenfold for a tenth of it."""
    s_NV, t_NV = logits(0) / 3, logits(1) / 3
    expected = value_and_gradient(partial(limit, temperature=temperature), s_NV, t_NV)
    distances = []
    for small in (1e-3, 1e-4, 1e-5):
        at = partial(jsd, beta=abs(end - small), scaled=True, temperature=temperature)
        found = value_and_gradient(at, s_NV, t_NV)
        distances.append([float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)])
    ratios = np.array(distances)[:-1] / np.array(distances)[1:]
    np.testing.assert_allclose(ratios, 10, rtol=0.05)
    exactly = partial(jsd, beta=end, scaled=True, temperature=temperature)
    assert all(map(torch.equal, value_and_gradient(exactly, s_NV, t_NV), expected))


@pytest.mark.parametrize("beta", [0.05, 0.5, 0.8])
def test_scaled_agrees_with_the_definition_in_probabilities(beta: float) -> None:
    s_NV, t_NV = logits(2), logits(3)
    p_s, p_t = (softmax(x.numpy() / 2, axis=1) for x in (s_NV, t_NV))
    mixture = beta * p_t + (1 - beta) * p_s
    # β·KL / (β(1 − β)) is KL / (1 − β), and the other term likewise.
    expected_N = rel_entr(p_t, mixture).sum(1) / (1 - beta) + rel_entr(p_s, mixture).sum(1) / beta
    found_N = jsd(s_NV, t_NV, beta=beta, scaled=True, temperature=2.0, reduction="none")
    np.testing.assert_allclose(found_N.numpy(), expected_N * 4, rtol=1e-9)


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_beta_must_be_a_share(beta: float) -> None:
    with pytest.raises(ValueError, match="must be in 0 to 1"):
        jsd(logits(0), logits(1), beta=beta)
