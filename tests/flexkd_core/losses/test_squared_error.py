"""Squared error between regression outputs."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import mean_squared_error

from flexkd_core.losses import squared_error


def outputs(rows: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_agrees_with_sklearn_and_vanishes_on_equal_outputs() -> None:
    s_N1, t_N1 = outputs(7, seed=0), outputs(7, seed=1)
    assert squared_error(s_N1, s_N1).item() == 0
    assert squared_error(s_N1, t_N1).item() == pytest.approx(
        mean_squared_error(t_N1[:, 0].numpy(), s_N1[:, 0].numpy())
    )


def test_gradient() -> None:
    assert torch.autograd.gradcheck(
        squared_error, (outputs(4, 0).requires_grad_(), outputs(4, 1).requires_grad_())
    )


def test_no_rows_give_zero() -> None:
    s_N1 = outputs(0, 0).requires_grad_()
    loss = squared_error(s_N1, outputs(0, 1))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("shapes", [((3, 2), (3, 2)), ((3, 1), (4, 1)), ((3,), (3,))])
def test_shapes_must_be_one_output_per_example(shapes) -> None:
    student, teacher = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"must both be \(rows, 1\)"):
        squared_error(student, teacher)
