"""Mean squared error of logits: scikit-learn, excluded classes, and the idle temperature."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import mean_squared_error

from flexkd_core.losses import logit_mse


def logits(seed: int) -> torch.Tensor:
    return torch.randn(6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_sklearn_at_any_temperature() -> None:
    s_NV, t_NV = logits(0), logits(1)
    expected = mean_squared_error(t_NV.numpy(), s_NV.numpy())
    for temperature in (0.5, 1.0, 4.0):
        found = logit_mse(s_NV, t_NV, temperature=temperature)
        assert found.item() == pytest.approx(expected, rel=1e-12)


def test_mean_is_over_the_classes_that_count_in_each_row() -> None:
    s_NV = torch.tensor([[1.0, 2.0, -torch.inf], [1.0, -torch.inf, -torch.inf]])
    t_NV = torch.tensor([[3.0, 2.0, -torch.inf], [4.0, -torch.inf, -torch.inf]])
    assert logit_mse(s_NV, t_NV, reduction="none").tolist() == [2, 9]


def test_a_row_without_classes_is_zero() -> None:
    s_NV = torch.full((1, 3), -torch.inf, requires_grad=True)
    loss = logit_mse(s_NV, s_NV.detach())
    loss.backward()
    assert loss.item() == 0
    assert not s_NV.grad.any()
