"""Procrustes distance: laws first, then scipy's best rotation, then singular edges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group

from flexkd_core.losses import procrustes_loss

from .drawn import features


def reference(s: np.ndarray, t: np.ndarray) -> float:
    """The definition: ‖AQ − B‖² at the best Q, the narrower side filled up with zero units."""
    width = max(s.shape[1], t.shape[1])
    sides = []
    for x in (s, t):
        x = np.pad(x, ((0, 0), (0, width - x.shape[1])))
        x = x - x.mean(0)
        sides.append(x / np.linalg.norm(x))
    rotation, _ = orthogonal_procrustes(*sides)
    return float(np.linalg.norm(sides[0] @ rotation - sides[1]) ** 2)


@pytest.mark.parametrize(("rows", "units"), [(4, 9), (40, 5)])
def test_invariant_to_rotation_scale_and_shift(rows: int, units: int) -> None:
    x_NS, y_NS = features(rows, units, 0), features(rows, units, 1)
    rotation_SS = torch.from_numpy(ortho_group.rvs(units, random_state=1))
    assert procrustes_loss(x_NS @ rotation_SS * 3 - 2, x_NS).item() == pytest.approx(0, abs=1e-14)
    torch.testing.assert_close(
        procrustes_loss(x_NS @ rotation_SS * 3 - 2, y_NS), procrustes_loss(x_NS, y_NS)
    )


def test_features_without_anything_in_common_are_at_distance_two() -> None:
    x_NS = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
    assert procrustes_loss(x_NS, x_NS[[2, 3, 0, 1]]).item() == 2


@settings(max_examples=40)
@given(st.integers(2, 12), st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_agrees_with_the_best_rotation_of_scipy(rows: int, s: int, t: int, seed: int) -> None:
    s_NS, t_NT = features(rows, s, seed) * 1e-3 + 1, features(rows, t, seed + 100) * 1e3
    found = procrustes_loss(s_NS, t_NT)
    assert found.item() == pytest.approx(reference(s_NS.numpy(), t_NT.numpy()), abs=1e-11)
    torch.testing.assert_close(procrustes_loss(t_NT, s_NS), found)


def test_zero_units_on_either_side_change_nothing() -> None:
    s_NS, t_NT = features(6, 3, 0), features(6, 5, 1)
    wide_NS = torch.cat([s_NS, torch.zeros(6, 4, dtype=torch.float64)], dim=1)
    torch.testing.assert_close(procrustes_loss(wide_NS, t_NT), procrustes_loss(s_NS, t_NT))


@pytest.mark.parametrize(("rows", "s", "t"), [(4, 3, 4), (9, 2, 3), (4, 6, 5), (3, 7, 2)])
def test_gradient(rows: int, s: int, t: int) -> None:
    inputs = (features(rows, s, 6).requires_grad_(), features(rows, t, 7).requires_grad_())
    assert torch.autograd.gradcheck(procrustes_loss, inputs)


def test_gradient_at_repeated_singular_values() -> None:
    # AᵀB has singular values (a, a), where the slope of each is not defined but that of their sum
    # is; ‖·‖_* is smooth there.
    x_NS = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    y_NS = x_NS[[0, 1, 3, 2]] + torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    values = torch.linalg.svdvals(x_NS.T @ (y_NS - y_NS.mean(0)))
    assert values[0] == pytest.approx(values[1].item())
    assert torch.autograd.gradcheck(procrustes_loss, (x_NS.requires_grad_(), y_NS.requires_grad_()))


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("equal units", "random"),  # AᵀB of rank 1
        ("random", "equal units"),
        ("random", "the student's"),
        ("orthogonal", "orthogonal to it"),  # AᵀB = 0
    ],
)
def test_gradient_is_finite_where_singular_values_vanish(student: str, teacher: str) -> None:
    sides = {
        "random": features(6, 3, 0),
        "the student's": features(6, 3, 0),
        "equal units": features(6, 1, 1).expand(6, 3).clone(),
        "orthogonal": torch.tensor([[1.0], [-1], [0], [0]]).double(),
        "orthogonal to it": torch.tensor([[0.0], [0], [1], [-1]]).double(),
    }
    s_NS, t_NT = sides[student].requires_grad_(), sides[teacher].clone()
    loss = procrustes_loss(s_NS, t_NT)
    loss.backward()
    assert loss.isfinite()
    assert s_NS.grad.isfinite().all()
    assert s_NS.grad.norm() < 10


def test_a_step_down_the_gradient_approaches_the_teacher() -> None:
    s_NS, t_NT = features(8, 4, 0).requires_grad_(), features(8, 6, 1)
    losses = []
    for _ in range(200):
        loss = procrustes_loss(s_NS, t_NT)
        losses.append(loss.item())
        with torch.no_grad():
            s_NS -= 2 * torch.autograd.grad(loss, s_NS)[0]
    # What four units cannot hold of six stays: 1 − (share of the spectrum) is no zero.
    assert losses[-1] < 0.5 * losses[0]
    assert all(after <= before + 1e-12 for before, after in pairwise(losses))


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_give_zero_and_a_zero_gradient(rows: int) -> None:
    s_NS = features(rows, 4, 8).requires_grad_()
    loss = procrustes_loss(s_NS, features(rows, 6, 9))
    loss.backward()
    assert loss.item() == 0
    assert not s_NS.grad.any()


@pytest.mark.parametrize("dead", ["student", "teacher", "both"])
def test_a_side_without_variance_has_no_gradient(dead: str) -> None:
    s_NS, t_NT = features(5, 4, 8), features(5, 6, 9)
    if dead in ("student", "both"):
        s_NS[:] = 0.1
    if dead in ("teacher", "both"):
        t_NT[:] = 0.1
    s_NS.requires_grad_()
    loss = procrustes_loss(s_NS, t_NT)
    loss.backward()
    assert loss.item() == pytest.approx(0 if dead == "both" else 1)
    torch.testing.assert_close(s_NS.grad, torch.zeros_like(s_NS))


def test_fp32_input_is_computed_in_fp64() -> None:
    s_NS, t_NT = features(5, 8, 0).float() + 1000, features(5, 9, 1).float()
    loss = procrustes_loss(s_NS, t_NT)
    assert loss.dtype == torch.float32
    expected = reference(s_NS.double().numpy(), t_NT.double().numpy())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
