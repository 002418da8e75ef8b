"""The output F by name: its value from plain numbers, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from flexkd_core.scoring import OUTPUTS

LOGITS_BC = torch.tensor([[1.0, 3.0, 2.0], [0.5, -1.0, 0.0]])
LABELS_B = torch.tensor([2, 0])
LOGPROB_B = log_softmax(LOGITS_BC.double().numpy(), axis=1)[[0, 1], [2, 0]]


@pytest.mark.parametrize(
    ("name", "expected_KB"),
    [
        ("predicted_logit", [[3.0, 0.5]]),
        ("label_logit", [[2.0, 0.5]]),
        ("label_logprob", [LOGPROB_B]),
        ("loss", [-LOGPROB_B]),
        ("logit_jacobian", [[1.0, 0.5], [3.0, -1.0], [2.0, 0.0]]),
    ],
)
def test_classes(name: str, expected_KB: list) -> None:
    np.testing.assert_allclose(OUTPUTS[name](LOGITS_BC, LABELS_B), expected_KB, rtol=1e-6)


def test_regression() -> None:
    logits_BC, labels_B = torch.tensor([[1.5], [-2.0]]), torch.tensor([1.0, 1.0])
    assert OUTPUTS["value"](logits_BC, None).tolist() == [[1.5, -2.0]]
    assert OUTPUTS["loss"](logits_BC, labels_B).tolist() == [[0.25, 9.0]]


def test_label_logprob_of_tokens_sums_over_the_reference_and_skips_ignored_labels() -> None:
    logits_BTV = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    labels_BT = torch.tensor([[4, 0, -100], [-100, -100, -100]])
    expected_T = log_softmax(logits_BTV[0].double().numpy(), axis=1)
    (found_B,) = OUTPUTS["label_logprob"](logits_BTV, labels_BT)
    assert found_B.tolist() == pytest.approx([expected_T[0, 4] + expected_T[1, 0], 0], rel=1e-6)


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_stays_on_the_graph(name: str) -> None:
    logits_BC = (LOGITS_BC[:, :1] if name == "value" else LOGITS_BC).clone().requires_grad_()
    OUTPUTS[name](logits_BC, LABELS_B).sum().backward()
    assert logits_BC.grad.any()


@pytest.mark.parametrize("name", ["label_logit", "label_logprob", "loss"])
@pytest.mark.parametrize(
    ("labels_B", "message"),
    [
        (None, "but got no labels"),
        (torch.tensor([1]), r"int64 \(1,\)"),
        (torch.tensor([0.0, 1.0]), "torch.float32"),
        (torch.tensor([0, 3]), "label 3 is not one of the classes 0 to 2"),
        (torch.tensor([-100, 0]), "label -100 is not one"),
    ],
)
def test_labels_must_fit(name: str, labels_B, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OUTPUTS[name](LOGITS_BC, labels_B)


@pytest.mark.parametrize(
    "name", ["predicted_logit", "label_logit", "label_logprob", "logit_jacobian"]
)
def test_class_outputs_refuse_a_single_output(name: str) -> None:
    with pytest.raises(ValueError, match="use 'value'"):
        OUTPUTS[name](LOGITS_BC[:, :1], LABELS_B)


def test_value_refuses_classes_and_regression_loss_needs_targets() -> None:
    with pytest.raises(ValueError, match="use 'predicted_logit'"):
        OUTPUTS["value"](LOGITS_BC, None)
    with pytest.raises(ValueError, match="one number per example"):
        OUTPUTS["loss"](LOGITS_BC[:, :1], None)


@pytest.mark.parametrize("name", ["predicted_logit", "label_logit", "logit_jacobian", "loss"])
def test_token_logits_are_sent_to_label_logprob(name: str) -> None:
    with pytest.raises(ValueError, match="use 'label_logprob' for generation"):
        OUTPUTS[name](torch.zeros(2, 3, 5), torch.zeros(2, 3, dtype=torch.long))
