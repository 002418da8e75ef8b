"""Binary cross-entropy and losses by label: laws first, then independent fp64 references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, rel_entr
from torch import Tensor

from flexkd_core.losses import (
    CLASS_LOSSES,
    binary_cross_entropy,
    forward_kl,
    jsd,
    per_label,
    reverse_kl,
    token_cross_entropy,
    tvd,
)


def logits(seed: int, rows: int = 6, labels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(rows, labels, dtype=torch.float64, generator=generator)


def drawn_labels(seed: int, rows: int = 6, labels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (rows, labels), generator=generator).double()


class TestBinaryCrossEntropy:
    def test_is_the_cross_entropy_of_two_classes_with_logits_z_and_0(self) -> None:
        z_NC, y_NC = logits(0), drawn_labels(1)
        pairs = torch.stack([torch.zeros_like(z_NC), z_NC], dim=-1).reshape(-1, 2)
        expected = token_cross_entropy(pairs, y_NC.long().reshape(-1))
        torch.testing.assert_close(binary_cross_entropy(z_NC, y_NC), expected)

    def test_agrees_with_the_formula_in_numpy(self) -> None:
        z_NC, y_NC, w_C = logits(0).numpy(), drawn_labels(1).numpy(), np.array([1, 2, 0.5, 3, 4])
        p_NC = expit(z_NC)
        expected = -(w_C * y_NC * np.log(p_NC) + (1 - y_NC) * np.log(1 - p_NC)).mean()
        found = binary_cross_entropy(
            torch.tensor(z_NC), torch.tensor(y_NC), class_weights=torch.tensor(w_C)
        )
        assert found.item() == pytest.approx(expected, rel=1e-12)

    def test_weights_are_pos_weight_of_torch(self) -> None:
        z_NC, y_NC, w_C = logits(2), drawn_labels(3), torch.tensor([1.0, 2, 3, 4, 5]).double()
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=w_C)(z_NC, y_NC)
        found = binary_cross_entropy(z_NC, y_NC, class_weights=w_C)
        torch.testing.assert_close(found, expected)

    def test_sum_and_rows_add_up_to_the_mean(self) -> None:
        z_NC, y_NC = logits(2), drawn_labels(3)
        rows_N = binary_cross_entropy(z_NC, y_NC, reduction="none")
        assert rows_N.shape == (6,)
        torch.testing.assert_close(rows_N.mean(), binary_cross_entropy(z_NC, y_NC))
        torch.testing.assert_close(rows_N.sum(), binary_cross_entropy(z_NC, y_NC, reduction="sum"))

    def test_gradient(self) -> None:
        y_NC = drawn_labels(3, 3, 2)
        inputs = (logits(2, 3, 2).requires_grad_(),)
        assert torch.autograd.gradcheck(lambda z: binary_cross_entropy(z, y_NC), inputs)

    def test_no_rows_give_zero_and_half_precision_fp32(self) -> None:
        assert binary_cross_entropy(logits(0, 0), drawn_labels(0, 0)).item() == 0
        assert binary_cross_entropy(logits(0).bfloat16(), drawn_labels(0)).dtype == torch.float32

    @pytest.mark.parametrize(
        ("labels_NC", "message"),
        [
            (torch.zeros(6), "0 or 1 for every label"),
            (torch.full((6, 5), 2.0), "between 0 and 1"),
            (torch.full((6, 5), torch.nan), "between 0 and 1"),
        ],
    )
    def test_other_labels_are_refused(self, labels_NC: Tensor, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            binary_cross_entropy(logits(0), labels_NC)


class TestPerLabel:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
    def test_forward_kl_is_the_divergence_of_bernoulli_distributions(
        self, temperature: float
    ) -> None:
        s_NC, t_NC = logits(1), logits(2)
        p_NC, q_NC = expit(t_NC.numpy() / temperature), expit(s_NC.numpy() / temperature)
        each = rel_entr(p_NC, q_NC) + rel_entr(1 - p_NC, 1 - q_NC)
        found = per_label(forward_kl, s_NC, t_NC, temperature=temperature)
        assert found.item() == pytest.approx(temperature**2 * each.mean(), rel=1e-10)

    def test_high_temperature_limit_is_an_eighth_of_the_squared_difference(self) -> None:
        # σ(z / τ) → 1/2 + z / 4τ, and KL(p ‖ q) → (p − q)² / 2q(1 − q) = (s − t)² / 8τ².
        s_NC, t_NC = logits(1), logits(2)
        for loss in (forward_kl, reverse_kl):
            found = per_label(loss, s_NC, t_NC, temperature=1e4)
            expected = (s_NC - t_NC).square().mean().item() / 8
            assert found.item() == pytest.approx(expected, rel=1e-3)

    def test_total_variation_is_the_difference_of_the_probabilities(self) -> None:
        s_NC, t_NC = logits(1), logits(2)
        expected = (expit(s_NC.numpy()) - expit(t_NC.numpy())).__abs__().mean()
        assert per_label(tvd, s_NC, t_NC).item() == pytest.approx(expected, rel=1e-10)

    @pytest.mark.parametrize("name", sorted(set(CLASS_LOSSES) - {"uld"}))
    def test_equal_logits_cost_nothing_and_a_shift_costs(self, name: str) -> None:
        x_NC = logits(1).requires_grad_()
        loss = per_label(CLASS_LOSSES[name], x_NC, x_NC.detach())
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert x_NC.grad is not None
        # Unlike for classes, a shift of a row's logits changes every label.
        assert per_label(CLASS_LOSSES[name], x_NC + 1, x_NC).item() > 1e-3

    @pytest.mark.parametrize("loss", [forward_kl, reverse_kl, jsd])
    def test_gradient(self, loss: object) -> None:
        inputs = (logits(3, 3, 2).requires_grad_(), logits(4, 3, 2).requires_grad_())
        assert torch.autograd.gradcheck(
            lambda s, t: per_label(loss, s, t, temperature=2.0),  # type: ignore[arg-type]
            inputs,
        )

    def test_rows_are_means_over_their_labels(self) -> None:
        s_NC, t_NC = logits(1), logits(2)
        rows_N = per_label(forward_kl, s_NC, t_NC, reduction="none")
        assert rows_N.shape == (6,)
        first = [forward_kl(torch.stack([s, s * 0])[None], torch.stack([t, t * 0])[None])
                 for s, t in zip(s_NC[0], t_NC[0], strict=True)]  # fmt: skip
        torch.testing.assert_close(rows_N[0], torch.stack(first).mean())
        torch.testing.assert_close(rows_N.mean(), per_label(forward_kl, s_NC, t_NC))

    def test_other_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(rows, labels\)"):
            per_label(forward_kl, logits(1), logits(1, labels=4))


class TestClassWeights:
    def test_are_the_weights_of_torch(self) -> None:
        z_NV, y_N = logits(1), torch.tensor([0, 1, 2, 3, 4, 0])
        w_V = torch.tensor([1.0, 2, 3, 0, 5]).double()
        expected = torch.nn.CrossEntropyLoss(weight=w_V)(z_NV, y_N)
        found = token_cross_entropy(z_NV, y_N, class_weights=w_V)
        torch.testing.assert_close(found, expected)

    def test_equal_weights_change_no_mean(self) -> None:
        z_NV, y_N = logits(1), torch.tensor([0, 1, -100, 3, 4, 0])
        found = token_cross_entropy(z_NV, y_N, class_weights=torch.full((5,), 7.0))
        torch.testing.assert_close(found, token_cross_entropy(z_NV, y_N))

    def test_only_classes_of_weight_0_give_0(self) -> None:
        z_NV = logits(1).requires_grad_()
        loss = token_cross_entropy(
            z_NV, torch.zeros(6, dtype=torch.long), class_weights=torch.zeros(5)
        )
        loss.backward()
        assert loss.item() == 0
