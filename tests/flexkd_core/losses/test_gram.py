"""Gram distance: laws first, then numpy in both orientations, then the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from flexkd_core.losses import gram_loss

from .drawn import features


def reference(s: np.ndarray, t: np.ndarray) -> float:
    gram_s, gram_t = (x @ x.T / np.sum(x * x) for x in (s, t))
    return float(np.linalg.norm(gram_s - gram_t))


@pytest.mark.parametrize(("rows", "units"), [(4, 9), (40, 5)])
def test_invariant_to_rotation_and_scale_but_not_to_shift(rows: int, units: int) -> None:
    x_NS = features(rows, units, 0)
    rotation_SS = torch.from_numpy(ortho_group.rvs(units, random_state=1))
    # The root of fp64's rounding where the three terms of the square are subtracted.
    assert gram_loss(x_NS @ rotation_SS * 3, x_NS).item() == pytest.approx(0, abs=3e-8)
    assert gram_loss(x_NS + 2, x_NS) > 0.1


def test_rounding_below_zero_is_no_nan() -> None:
    # Twenty rotations: about half of the squares come out a few last bits below 0.
    x_NS = features(40, 5, 0)
    for seed in range(20):
        rotation_SS = torch.from_numpy(ortho_group.rvs(5, random_state=seed))
        assert 0 <= gram_loss(x_NS @ rotation_SS, x_NS).item() < 3e-8


def test_features_without_anything_in_common_are_at_the_largest_distance() -> None:
    s_NS, t_NS = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0], [3.0]])
    assert gram_loss(s_NS, t_NS).item() == pytest.approx(2**0.5)


@settings(max_examples=40)
@given(st.integers(2, 25), st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_agrees_with_numpy_and_is_symmetric(rows: int, s: int, t: int, seed: int) -> None:
    s_NS, t_NT = features(rows, s, seed) * 1e-3, features(rows, t, seed + 100) * 1e3 + 5
    found = gram_loss(s_NS, t_NT)
    assert found.item() == pytest.approx(reference(s_NS.numpy(), t_NT.numpy()), rel=1e-9)
    torch.testing.assert_close(gram_loss(t_NT, s_NS), found)


@pytest.mark.parametrize(("rows", "s", "t"), [(4, 3, 4), (9, 2, 3), (3, 7, 2)])
def test_gradient(rows: int, s: int, t: int) -> None:
    inputs = (features(rows, s, 6).requires_grad_(), features(rows, t, 7).requires_grad_())
    assert torch.autograd.gradcheck(gram_loss, inputs)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_give_zero_and_a_zero_gradient(rows: int) -> None:
    s_NS = features(rows, 4, 8).requires_grad_()
    loss = gram_loss(s_NS, features(rows, 6, 9))
    loss.backward()
    assert loss.item() == 0
    assert not s_NS.grad.any()


def test_a_side_of_zeros_is_the_zero_matrix() -> None:
    s_NS, t_NT = torch.zeros(5, 4, requires_grad=True), features(5, 2, 0).float()
    loss = gram_loss(s_NS, t_NT)
    loss.backward()
    gram_NN = (t_NT @ t_NT.T / t_NT.square().sum()).double()
    assert loss.item() == pytest.approx(gram_NN.norm().item(), rel=1e-5)
    assert not s_NS.grad.any()


def test_fp32_input_is_computed_in_fp64() -> None:
    s_NS, t_NT = features(5, 8, 0).float() + 1000, features(5, 9, 1).float() + 1000
    loss = gram_loss(s_NS, t_NT)
    assert loss.dtype == torch.float32
    expected = reference(s_NS.double().numpy(), t_NT.double().numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-5)
