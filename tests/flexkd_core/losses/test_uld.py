"""Sorted probabilities: zero only for equal ones, permutations, bounds, numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import wasserstein_distance

from flexkd_core.losses import tvd, uld

from .drawn import logits

SIZES = st.integers(1, 9)


def expected(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0) -> np.ndarray:
    """The formula in NumPy, fp64, with the smaller vocabulary padded by zeros."""
    entries = max(student.shape[1], teacher.shape[1])
    sides = []
    for side in (student, teacher):
        p = -np.sort(-softmax(side.double().numpy() / temperature, axis=1), axis=1)
        sides.append(np.concatenate([p, np.zeros((len(p), entries - p.shape[1]))], axis=1))
    return temperature * np.abs(sides[0] - sides[1]).sum(axis=1)


@settings(max_examples=60)
@given(st.integers(0, 999), st.integers(1, 4), SIZES, SIZES, st.sampled_from([0.5, 1.0, 3.0]))
def test_formula_bounds_and_symmetry(
    seed: int, rows: int, ours: int, theirs: int, temperature: float
) -> None:
    s_NS, t_NT = logits(seed, rows, ours), logits(seed + 1000, rows, theirs)
    found_N = uld(s_NS, t_NT, temperature=temperature, reduction="none")
    np.testing.assert_allclose(found_N.numpy(), expected(s_NS, t_NT, temperature), atol=1e-13)
    swapped_N = uld(t_NT, s_NS, temperature=temperature, reduction="none")
    torch.testing.assert_close(found_N, swapped_N)
    assert (found_N <= 2 * temperature * (1 - 1 / max(ours, theirs)) + 1e-12).all()


@settings(max_examples=40)
@given(st.integers(0, 999), SIZES, SIZES)
def test_permutation_of_either_vocabulary_changes_nothing(
    seed: int, ours: int, theirs: int
) -> None:
    s_NS, t_NT = logits(seed, 3, ours), logits(seed + 1000, 3, theirs)
    generator = torch.Generator().manual_seed(seed)
    mixed_NS = s_NS[:, torch.randperm(ours, generator=generator)]
    mixed_NT = t_NT[:, torch.randperm(theirs, generator=generator)]
    torch.testing.assert_close(uld(mixed_NS, mixed_NT), uld(s_NS, t_NT), rtol=1e-12, atol=1e-14)


@settings(max_examples=40)
@given(st.integers(0, 999), SIZES, st.integers(0, 4))
def test_zero_if_and_only_if_the_sorted_probabilities_are_equal(
    seed: int, entries: int, more: int
) -> None:
    t_NT = logits(seed, 3, entries)
    generator = torch.Generator().manual_seed(seed)
    excluded = torch.full((3, more), -torch.inf, dtype=torch.float64)
    same_NS = torch.cat([t_NT + 2, excluded], dim=1)
    same_NS = same_NS[:, torch.randperm(entries + more, generator=generator)]
    assert uld(same_NS, t_NT).item() == pytest.approx(0, abs=1e-14)
    other_NS = logits(seed + 1000, 3, entries)
    gap = np.abs(expected(other_NS, t_NT))
    assert ((uld(other_NS, t_NT, reduction="none").numpy() > 1e-12) == (gap > 1e-12)).all()


def test_a_point_and_uniform_probabilities_are_at_the_bound() -> None:
    point, uniform = torch.tensor([[0.0, -torch.inf]]), torch.zeros(1, 50, dtype=torch.float64)
    assert uld(point, uniform).item() == pytest.approx(2 * (1 - 1 / 50), rel=1e-12)


@settings(max_examples=30)
@given(st.integers(0, 999), st.integers(2, 9))
def test_at_most_twice_the_total_variation(seed: int, entries: int) -> None:
    # The sorted assignment is the one of least cost, and tvd has another.
    s_NS, t_NT = logits(seed, 3, entries), logits(seed + 1000, 3, entries)
    found_N = uld(s_NS, t_NT, reduction="none")
    assert (found_N <= 2 * tvd(s_NS, t_NT, reduction="none") + 1e-12).all()
    # Entries × the Wasserstein distance between the two sets of probabilities.
    for row in range(3):
        p, q = (softmax(side[row].numpy()) for side in (s_NS, t_NT))
        assert found_N[row].item() == pytest.approx(entries * wasserstein_distance(p, q), abs=1e-12)


def test_gradient_moves_the_sorted_student_to_the_sorted_teacher() -> None:
    student_NS = logits(0, 4, 7).requires_grad_()
    teacher_NT = logits(1, 4, 12)
    assert torch.autograd.gradcheck(lambda s: uld(s, teacher_NT, temperature=2.0), (student_NS,))
    loss = uld(student_NS, teacher_NT)
    loss.backward()
    with torch.no_grad():
        assert uld(student_NS - 0.05 * student_NS.grad, teacher_NT) < loss


def test_bf16_logits_agree_with_fp64() -> None:
    s_NS, t_NT = logits(0, 5, 30).bfloat16(), logits(1, 5, 40).bfloat16()
    found_N = uld(s_NS, t_NT, reduction="none")
    assert found_N.dtype == torch.float32
    np.testing.assert_allclose(found_N.numpy(), expected(s_NS, t_NT), rtol=1e-5)
