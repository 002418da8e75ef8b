"""Top-k with a tail: a distribution over k + 1 outcomes, and less divergence than all V have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from flexkd_core.losses import CLASS_LOSSES, forward_kl, top_k_logits

shapes = st.tuples(st.integers(0, 4), st.integers(2, 9)).flatmap(
    lambda shape: st.tuples(st.just(shape), st.integers(1, shape[1]), st.integers(0, 99))
)


def logits(rows: int, classes: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)


@settings(max_examples=40)
@given(shapes)
def test_agrees_with_sorting_and_summing(case: tuple[tuple[int, int], int, int]) -> None:
    (rows, classes), k, seed = case
    # Rounded logits have ties: a stable sort of the negated values keeps the lower index first.
    t_NV, s_NV = logits(rows, classes, seed).round(), logits(rows, classes, seed + 100)
    found_s, found_t = top_k_logits(t_NV, s_NV, k)
    order_NK = np.argsort(-t_NV.numpy(), axis=1, kind="stable")[:, :k]
    for found, x_NV in ((found_s, s_NV), (found_t, t_NV)):
        assert found.shape == (rows, k + 1)
        p_NV = softmax(x_NV.numpy(), axis=1) if rows else x_NV.numpy()
        kept_NK = np.take_along_axis(p_NV, order_NK, axis=1)
        np.testing.assert_allclose(found[:, :k].exp().numpy(), kept_NK, rtol=1e-12)
        rest_N = 1 - kept_NK.sum(1)
        np.testing.assert_allclose(found[:, k].exp().numpy(), rest_N, rtol=1e-9, atol=1e-15)
        assert k < classes or found[:, k].isneginf().all()


def test_ties_go_to_the_lower_index_and_order_is_falling() -> None:
    t_NV = torch.tensor([[1.0, 2.0, 1.0, 1.0, 2.0, 0.0]])
    s_NV = torch.arange(6.0)[None]
    found_s, _ = top_k_logits(t_NV, s_NV, 4)
    torch.testing.assert_close(found_s[:, :4], s_NV.log_softmax(1)[:, [1, 4, 0, 2]])


@pytest.mark.parametrize("name", ["forward_kl", "reverse_kl", "jsd", "skew_forward_kl", "tvd"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_merging_classes_never_adds_divergence(name: str, k: int) -> None:
    # The data-processing inequality of f-divergences; with no class merged they are equal.
    t_NV, s_NV = logits(5, 9, 0), logits(5, 9, 1)
    whole_N = CLASS_LOSSES[name](s_NV, t_NV, reduction="none")
    part_N = CLASS_LOSSES[name](*top_k_logits(t_NV, s_NV, k), reduction="none")
    assert (part_N <= whole_N + 1e-12).all()
    if k == 8:  # the tail is one class: nothing was merged
        torch.testing.assert_close(part_N, whole_N)


@pytest.mark.parametrize("name", [name for name in CLASS_LOSSES if name != "logit_mse"])
def test_all_classes_give_the_whole_loss_and_gradient(name: str) -> None:
    t_NV, s_NV = logits(5, 6, 0), logits(5, 6, 1).requires_grad_()
    loss, part = CLASS_LOSSES[name](s_NV, t_NV), CLASS_LOSSES[name](*top_k_logits(t_NV, s_NV, 6))
    torch.testing.assert_close(part, loss)
    torch.testing.assert_close(torch.autograd.grad(part, s_NV), torch.autograd.grad(loss, s_NV))


@pytest.mark.parametrize("name", CLASS_LOSSES)
@pytest.mark.parametrize("k", [2, 6])
def test_every_loss_takes_the_result_with_finite_gradients(name: str, k: int) -> None:
    t_NV, s_NV = logits(5, 6, 0), logits(5, 6, 1)
    t_NV[0, 3:] = s_NV[0, 3:] = -torch.inf  # a shared mask that k may or may not reach
    s_NV.requires_grad_()
    loss = CLASS_LOSSES[name](*top_k_logits(t_NV, s_NV, k))
    loss.backward()
    assert loss.isfinite()
    assert s_NV.grad.isfinite().all()


def test_a_tail_that_one_side_leaves_empty_has_no_gradient_of_nan() -> None:
    t_NV, s_NV = torch.tensor([[3.0, 2.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    s_NV[0, 2:] = -torch.inf
    s_NV.requires_grad_()
    found_s, _ = top_k_logits(t_NV, s_NV, 2)
    assert found_s[0, 2] == -torch.inf
    found_s[:, :2].sum().backward()
    assert s_NV.grad.isfinite().all()


@pytest.mark.parametrize("k", [1, 3, 4])
def test_gradient(k: int) -> None:
    t_NV, s_NV = logits(3, 4, 0), logits(3, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: forward_kl(*top_k_logits(t_NV, s, k)), (s_NV,))


def test_small_tails_are_summed_and_not_subtracted() -> None:
    # 1 − p_top would be 0 in fp32: the tail of two logits 40 below is 2·e⁻⁴⁰.
    _, found_t = top_k_logits(torch.tensor([[0.0, -40.0, -40.0]]), torch.zeros(1, 3), 1)
    assert found_t[0, 1].item() == pytest.approx(np.log(2) - 40, rel=1e-6)


def test_half_precision_is_computed_in_fp32_and_nan_reaches_the_loss() -> None:
    t_NV, s_NV = logits(3, 4, 0).bfloat16(), logits(3, 4, 1).bfloat16()
    assert {x.dtype for x in top_k_logits(t_NV, s_NV, 2)} == {torch.float32}
    t_NV[1, 2] = torch.nan
    assert forward_kl(*top_k_logits(t_NV, s_NV, 2)).isnan()


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_must_be_among_the_classes(k: int) -> None:
    with pytest.raises(ValueError, match=rf"{k} most likely of 4 classes: k must be in 1 to 4"):
        top_k_logits(logits(3, 4, 0), logits(3, 4, 1), k)
