"""Token cross-entropy: scikit-learn, labels that do not count, and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from flexkd_core.losses import token_cross_entropy


def logits(rows: int, seed: int = 0, classes: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)


def test_certainty_costs_nothing_and_ignorance_the_log_of_the_classes() -> None:
    certain_NV = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    assert token_cross_entropy(certain_NV, torch.tensor([0])).item() == 0
    assert token_cross_entropy(torch.zeros(1, 3), torch.tensor([0])).item() == pytest.approx(
        np.log(3)
    )


def test_agrees_with_sklearn_on_the_labelled_tokens() -> None:
    x_NV, labels_N = logits(6), torch.tensor([4, -100, 0, 2, -100, 1])
    valid = [0, 2, 3, 5]
    expected = log_loss(labels_N[valid], softmax(x_NV.numpy()[valid], axis=1), labels=range(5))
    assert token_cross_entropy(x_NV, labels_N).item() == pytest.approx(expected, rel=1e-10)
    loss_N = token_cross_entropy(x_NV, labels_N, reduction="none")
    assert loss_N[[1, 4]].tolist() == [0, 0]
    assert loss_N.sum().item() == pytest.approx(4 * expected, rel=1e-10)
    assert token_cross_entropy(x_NV, labels_N, reduction="sum") == loss_N.sum()


@settings(max_examples=30)
@given(st.lists(st.sampled_from([-100, 0, 1, 2, 3, 4]), max_size=6), st.integers(0, 4))
def test_padding_with_any_logits_changes_nothing(labels: list[int], padding: int) -> None:
    labels_N = torch.tensor([*labels, *[-100] * padding], dtype=torch.int64)
    x_NV = logits(len(labels_N))
    torch.testing.assert_close(
        token_cross_entropy(x_NV, labels_N),
        token_cross_entropy(x_NV[: len(labels)], labels_N[: len(labels)]),
    )


@pytest.mark.parametrize("labels", [[], [-100, -100]])
def test_no_labelled_token_gives_zero_and_a_zero_gradient(labels: list[int]) -> None:
    x_NV = logits(len(labels)).requires_grad_()
    loss = token_cross_entropy(x_NV, torch.tensor(labels, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert not x_NV.grad.any()


def test_gradient() -> None:
    labels_N = torch.tensor([4, -100, 0])
    x_NV = logits(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: token_cross_entropy(x, labels_N), (x_NV,))


def test_half_precision_is_computed_in_fp32() -> None:
    x_NV, labels_N = logits(3).bfloat16(), torch.tensor([4, -100, 0])
    loss = token_cross_entropy(x_NV, labels_N)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        token_cross_entropy(x_NV.double(), labels_N).item(), rel=1e-6
    )


@pytest.mark.parametrize(
    ("labels_N", "message"),
    [
        (torch.tensor([0, 5, 1]), "label 5 is not one of the tokens 0 to 4"),
        (torch.tensor([0, -1, 1]), "label -1 is not one of"),
        (torch.tensor([0, 1]), "one integer per token"),
        (torch.tensor([0.0, 1.0, 1.0]), "one integer per token"),
        (torch.tensor([True, False, True]), "one integer per token"),
    ],
)
def test_labels_must_fit(labels_N: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        token_cross_entropy(logits(3), labels_N)


def test_reduction_must_be_known() -> None:
    with pytest.raises(ValueError, match="'batchmean' is not one of"):
        token_cross_entropy(logits(1), torch.tensor([0]), reduction="batchmean")  # type: ignore[arg-type]
