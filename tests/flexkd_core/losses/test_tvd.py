"""Total variation: its bounds, numpy, and Pinsker's inequality."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from flexkd_core.losses import forward_kl, tvd

from .drawn import logits


def test_disjoint_distributions_are_at_distance_one() -> None:
    s_NV, t_NV = torch.tensor([[0.0, -torch.inf]]), torch.tensor([[-torch.inf, 0.0]])
    assert tvd(s_NV, t_NV).item() == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_is_the_mass_that_has_to_move(temperature: float) -> None:
    s_NV, t_NV = logits(0), logits(1)
    p_NV, q_NV = (softmax(x.numpy() / temperature, axis=1) for x in (s_NV, t_NV))
    expected_N = np.maximum(p_NV - q_NV, 0).sum(1) * temperature
    found_N = tvd(s_NV, t_NV, temperature=temperature, reduction="none")
    np.testing.assert_allclose(found_N.numpy(), expected_N, rtol=1e-10)


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(2, 8))
def test_pinsker_and_symmetry(seed: int, rows: int, classes: int) -> None:
    s_NV, t_NV = logits(seed, rows, classes), logits(seed + 1000, rows, classes)
    distance_N = tvd(s_NV, t_NV, reduction="none")
    torch.testing.assert_close(distance_N, tvd(t_NV, s_NV, reduction="none"))
    divergence_N = forward_kl(s_NV, t_NV, reduction="none")
    assert (2 * distance_N.square() <= divergence_N + 1e-12).all()
