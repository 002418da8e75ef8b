"""Reverse KL: the forward one with its sides swapped, and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from flexkd_core.losses import forward_kl, reverse_kl

from .drawn import logits


def test_is_the_forward_divergence_of_swapped_sides_and_not_the_same() -> None:
    s_NV, t_NV = logits(0), logits(1)
    torch.testing.assert_close(reverse_kl(s_NV, t_NV), forward_kl(t_NV, s_NV))
    assert abs(reverse_kl(s_NV, t_NV) - forward_kl(s_NV, t_NV)) > 0.1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_agrees_with_scipy_entropy(temperature: float) -> None:
    s_NV, t_NV = logits(1), logits(2)
    p_NV, q_NV = (softmax(x.numpy() / temperature, axis=1) for x in (s_NV, t_NV))
    expected_N = [entropy(p, q) * temperature**2 for p, q in zip(p_NV, q_NV, strict=True)]
    found_N = reverse_kl(s_NV, t_NV, temperature=temperature, reduction="none")
    np.testing.assert_allclose(found_N.numpy(), expected_N, rtol=1e-10)


def test_student_may_ignore_what_the_teacher_likes_but_not_the_reverse() -> None:
    # p_T = (½, ½, 0): all on one of the teacher's modes costs ln 2, all on its third class +inf.
    t_NV = torch.tensor([[0.0, 0.0, -torch.inf]])
    mode_NV = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    other_NV = torch.tensor([[-torch.inf, -torch.inf, 0.0]])
    assert reverse_kl(mode_NV, t_NV).item() == pytest.approx(np.log(2))
    assert reverse_kl(other_NV, t_NV).item() == torch.inf
