"""Per-example importance: against closed forms, against the full graph, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flexkd_core.scoring import IMPORTANCE_KINDS, OUTPUTS, unit_importance
from flexkd_core.scoring.importance import _row_mean


@pytest.fixture
def rows_BT() -> Tensor:
    """All rows of the first example, two of the second, none of the third."""
    rows_BT = torch.zeros(3, 5, dtype=torch.bool)
    rows_BT[0] = rows_BT[1, 1] = rows_BT[1, 3] = True
    return rows_BT


def mean_over_rows(values_BTD: Tensor, rows_BT: Tensor) -> Tensor:
    weights_BT = rows_BT / rows_BT.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("btd,bt->bd", values_BTD.double(), weights_BT.double())


def full_graph_score(teacher, layer, outputs_KB) -> Tensor:
    """Eq. 1 with the whole graph and one backward per output and example."""
    kept = []
    handle = layer.register_forward_hook(
        lambda _module, _args, output: kept.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    outputs = outputs_KB(teacher.forward())
    handle.remove()
    score_BD = torch.zeros(teacher.ids_BT.shape[0], kept[0].shape[2], dtype=torch.float64)
    for output_B in outputs:
        for example, output in enumerate(output_B):
            (gradient_BTD,) = torch.autograd.grad(output, kept[0], retain_graph=True)
            rows_T = teacher.mask_BT[example]
            score_BD[example] += gradient_BTD[example, rows_T].double().abs().mean(0) / len(outputs)
    return score_BD


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("output", [name for name in OUTPUTS if name != "value"])
def test_gradient_agrees_with_the_full_graph_per_example(teacher, index: int, output: str) -> None:
    layer = teacher.layers[index]
    expected_BD = full_graph_score(
        teacher, layer, lambda logits: OUTPUTS[output](logits, teacher.labels_B)
    )
    importance = unit_importance(
        teacher.forward, layer, teacher.mask_BT, output=output, labels_B=teacher.labels_B
    )
    assert expected_BD.max() > 1e-3
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is None for parameter in teacher.model.parameters())


@pytest.mark.parametrize("output", ["value", "loss"])
def test_gradient_of_a_regression_model(regressor, output: str) -> None:
    layer, labels_B = regressor.layers[-1], torch.linspace(-1, 1, 4)
    expected_BD = full_graph_score(
        regressor, layer, lambda logits: OUTPUTS[output](logits, labels_B)
    )
    importance = unit_importance(
        regressor.forward, layer, regressor.mask_BT, output=output, labels_B=labels_B
    )
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", IMPORTANCE_KINDS)
def test_hidden_and_logits_are_those_of_a_plain_forward(teacher, kind: str) -> None:
    calls = []

    def forward() -> Tensor:
        calls.append(1)
        return teacher.forward()

    importance = unit_importance(forward, teacher.layers[-1], teacher.mask_BT, kind=kind, steps=3)
    assert len(calls) == (3 if kind == "integrated_gradients" else 1)
    with torch.no_grad():
        logits_BC = teacher.forward()
    assert torch.equal(importance.logits_BC, logits_BC)
    assert importance.hidden_BTD.shape == (4, 6, 16)
    for tensor in (importance.score_BD, importance.hidden_BTD, importance.logits_BC):
        assert not tensor.requires_grad
    assert importance.score_BD.dtype == torch.float64
    assert importance.valid_B.all()
    assert torch.is_grad_enabled()


def test_gradient_of_a_cubic_head(cubic, hidden_BTD: Tensor, rows_BT: Tensor) -> None:
    importance = unit_importance(lambda: cubic(hidden_BTD), cubic.layer, rows_BT, moments="example")
    weight_BD = cubic.weight_CD[importance.logits_BC.argmax(1)].detach()
    gradient_BTD = 3 * hidden_BTD.square() * weight_BD[:, None]
    expected_BD = mean_over_rows(gradient_BTD.abs(), rows_BT)
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-5, atol=1e-6)
    signed_BD = mean_over_rows(gradient_BTD, rows_BT)
    np.testing.assert_allclose(
        importance.gradients.sum_DD, signed_BD.T @ signed_BD, rtol=1e-5, atol=1e-6
    )


def test_jacobian_averages_magnitudes_and_the_moments_of_every_signed_gradient(
    cubic, hidden_BTD: Tensor, rows_BT: Tensor
) -> None:
    importance = unit_importance(
        lambda: cubic(hidden_BTD),
        cubic.layer,
        rows_BT,
        output="logit_jacobian",
        moments="example",
    )
    square_BD = mean_over_rows(3 * hidden_BTD.square(), rows_BT)
    weight_CD = cubic.weight_CD.detach().double()
    signed_BCD = square_BD[:, None] * weight_CD
    expected_DD = torch.einsum("bci,bcj->ij", signed_BCD, signed_BCD) / 3
    np.testing.assert_allclose(importance.gradients.sum_DD, expected_DD, rtol=1e-5, atol=1e-6)
    assert (importance.gradients.count, importance.gradients.rows) == (2, 6)
    torch.testing.assert_close(
        importance.score_BD, square_BD * weight_CD.abs().mean(0), rtol=1e-5, atol=1e-6
    )


def test_activation_is_the_mean_magnitude(cubic, hidden_BTD: Tensor, rows_BT: Tensor) -> None:
    importance = unit_importance(
        lambda: cubic(hidden_BTD), cubic.layer, rows_BT, kind="activation", output="value"
    )
    torch.testing.assert_close(importance.score_BD, mean_over_rows(hidden_BTD.abs(), rows_BT))
    assert importance.gradients is None
    assert importance.features is None


@pytest.mark.parametrize("steps", [1, 4])
def test_integrated_gradients_of_a_cubic_head(
    cubic, hidden_BTD: Tensor, rows_BT: Tensor, steps: int
) -> None:
    # Σ_k k² / m³ stands for ∫ 3a² da / 3: with F = w h³ the right sum is in closed form.
    importance = unit_importance(
        lambda: cubic(hidden_BTD),
        cubic.layer,
        rows_BT,
        kind="integrated_gradients",
        steps=steps,
    )
    weight_BD = cubic.weight_CD[importance.logits_BC.argmax(1)].detach()
    sum_of_squares = sum((k / steps) ** 2 for k in range(1, steps + 1)) / steps
    attribution_BTD = 3 * hidden_BTD.pow(3) * weight_BD[:, None] * sum_of_squares
    expected_BD = mean_over_rows(attribution_BTD.abs(), rows_BT)
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-5, atol=1e-6)


def test_integrated_gradients_are_complete(hidden_BTD: Tensor) -> None:
    # Sundararajan et al. 2017, Proposition 1: attributions add up to F(h) − F(0). With positive h
    # and w no sign is lost in |·|; the right sum of a cubic is off by 3/2m at m steps.
    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self) -> Tensor:
            total_B = self.layer(hidden_BTD.abs()).pow(3).sum(dim=(1, 2))
            return torch.stack([total_B, -total_B], dim=1)

    model = Positive()
    rows_BT = torch.ones(3, 5, dtype=torch.bool)
    importance = unit_importance(
        model, model.layer, rows_BT, kind="integrated_gradients", steps=300
    )
    total_B = importance.score_BD.sum(1) * 5
    torch.testing.assert_close(total_B, importance.logits_BC[:, 0].double(), rtol=1e-2, atol=0)


def test_integrated_gradients_before_a_norm_are_degenerate(teacher_before_norm) -> None:
    """F(a·h) = F(h) for a > 0, so ∂F/∂h at a·h is (1/a)·∂F/∂h at h.

    The m steps add up to H_m = Σ 1/k times |h·∂F/∂h|, which grows without a limit, and the
    attributions that should add up to F(h) − F(0) cancel to rounding. After the norm they converge.
    """
    teacher, norm = teacher_before_norm
    block = teacher.layers[-1]

    def scores(layer: nn.Module, steps: int) -> Tensor:
        return unit_importance(
            teacher.forward,
            layer,
            teacher.mask_BT,
            kind="integrated_gradients",
            steps=steps,
        ).score_BD

    kept: list[Tensor] = []
    handle = block.register_forward_hook(
        lambda module, inputs, output: kept.append(
            output[0] if isinstance(output, tuple) else output
        )
    )
    value = teacher.forward().max(dim=1).values.sum()
    handle.remove()
    (gradient_BTD,) = torch.autograd.grad(value, kept[0])
    product_BTD = (kept[0] * gradient_BTD).detach()
    assert product_BTD.sum(dim=2).abs().max() < 1e-9 * product_BTD.abs().sum(dim=2).max()
    once_BD = mean_over_rows(product_BTD.abs(), teacher.mask_BT)
    for steps in (1, 4, 64):
        harmonic = sum(1 / k for k in range(1, steps + 1))
        torch.testing.assert_close(scores(block, steps), harmonic * once_BD, rtol=1e-6, atol=0)
    after_BD = [scores(norm, steps) for steps in (1, 64)]
    # The head is linear there: any number of steps is exact.
    torch.testing.assert_close(after_BD[0], after_BD[1], rtol=1e-9, atol=0)


def test_integrated_gradients_keep_the_class_of_the_unscaled_forward() -> None:
    # logits (h, 0.5): class 0 is predicted at h = 1, class 1 below h = 0.5, where ∂F/∂h is 0.
    class Crossing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Identity()

        def forward(self) -> Tensor:
            hidden_B1 = self.layer(torch.ones(1, 1, 1))[:, 0]
            return torch.cat([hidden_B1, torch.full((1, 1), 0.5)], dim=1)

    model = Crossing()
    importance = unit_importance(
        model, model.layer, torch.ones(1, 1, dtype=torch.bool), kind="integrated_gradients", steps=8
    )
    assert importance.score_BD.item() == pytest.approx(1)


def test_random_is_one_seeded_vector_whatever_the_data(cubic, hidden_BTD, rows_BT) -> None:
    def score(hidden_BTD: Tensor, seed: int) -> Tensor:
        return unit_importance(
            lambda: cubic(hidden_BTD), cubic.layer, rows_BT, kind="random", seed=seed
        ).score_BD

    first_BD = score(hidden_BTD, seed=1)
    assert torch.equal(first_BD[0], first_BD[1])
    assert torch.equal(first_BD, score(-hidden_BTD, seed=1))
    assert not torch.equal(first_BD, score(hidden_BTD, seed=2))
    assert not first_BD[2].any()  # no counted row


@pytest.mark.parametrize("kind", IMPORTANCE_KINDS)
def test_example_without_rows_is_zero_and_not_valid(cubic, hidden_BTD, rows_BT, kind: str) -> None:
    importance = unit_importance(lambda: cubic(hidden_BTD), cubic.layer, rows_BT, kind=kind)
    assert importance.valid_B.tolist() == [True, True, False]
    assert importance.score_BD[:2].all()
    assert not importance.score_BD[2].any()


@pytest.mark.parametrize("kind", [kind for kind in IMPORTANCE_KINDS if kind != "random"])
def test_rows_that_do_not_count_change_nothing(cubic, hidden_BTD, rows_BT, kind: str) -> None:
    def score(hidden_BTD: Tensor) -> Tensor:
        return unit_importance(
            lambda: cubic(hidden_BTD),
            cubic.layer,
            rows_BT,
            kind=kind,
            output="label_logit",
            labels_B=torch.tensor([0, 1, 2]),
        ).score_BD

    changed_BTD = hidden_BTD.masked_fill(~rows_BT[:, :, None], torch.nan)
    assert torch.equal(score(changed_BTD), score(hidden_BTD))


def test_score_of_an_example_does_not_depend_on_its_batch(teacher) -> None:
    layer = teacher.layers[0]
    together = unit_importance(teacher.forward, layer, teacher.mask_BT)
    for example in range(4):
        rows = slice(example, example + 1)

        def alone(rows: slice = rows) -> Tensor:
            return teacher.model(
                input_ids=teacher.ids_BT[rows], attention_mask=teacher.mask_BT[rows].long()
            ).logits

        torch.testing.assert_close(
            unit_importance(alone, layer, teacher.mask_BT[rows]).score_BD[0],
            together.score_BD[example],
            rtol=1e-4,
            atol=1e-6,
        )


def test_label_logprob_of_tokens() -> None:
    embedding_VD = torch.randn(7, 4, generator=torch.Generator().manual_seed(0))
    hidden_BTD = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
    labels_BT = torch.tensor([[1, 6, -100], [0, -100, -100]])
    layer = nn.Identity()
    importance = unit_importance(
        lambda: layer(hidden_BTD) @ embedding_VD.T,
        layer,
        labels_BT >= 0,
        output="label_logprob",
        labels_B=labels_BT,
    )
    # ∂ log p(y) / ∂h = e_y − Σ_v p_v e_v, position by position.
    probability_BTV = (hidden_BTD @ embedding_VD.T).softmax(-1)
    gradient_BTD = embedding_VD[labels_BT.clamp(min=0)] - probability_BTV @ embedding_VD
    expected_BD = mean_over_rows(gradient_BTD.abs(), labels_BT >= 0)
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-5, atol=1e-6)


def test_no_examples_give_an_empty_score(cubic, hidden_BTD) -> None:
    importance = unit_importance(
        lambda: cubic(hidden_BTD[:0]), cubic.layer, torch.ones(0, 5, dtype=torch.bool)
    )
    assert importance.score_BD.shape == (0, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "magnitude"}, "'magnitude' is not one of gradient, activation"),
        ({"output": "sum"}, "'sum' is not one of predicted_logit"),
        ({"steps": 0}, "at least 1"),
        ({"rows_BT": torch.ones(3, 5)}, "bool mask"),
        ({"rows_BT": torch.ones(3, 4, dtype=torch.bool)}, r"\(3, 4\) does not fit"),
        ({"output": "value"}, "use 'predicted_logit'"),
        ({"output": "loss"}, "needs labels"),
    ],
)
def test_errors_say_what_to_do(cubic, hidden_BTD, rows_BT, changes: dict, message: str) -> None:
    arguments = {"layer": cubic.layer, "rows_BT": rows_BT} | changes
    with pytest.raises(ValueError, match=message):
        unit_importance(lambda: cubic(hidden_BTD), **arguments)


def test_logits_must_depend_on_the_layer(cubic, hidden_BTD, rows_BT) -> None:
    with pytest.raises(ValueError, match="do not depend on the scored layer"):
        unit_importance(lambda: cubic(hidden_BTD).detach(), cubic.layer, rows_BT)

    def beside() -> Tensor:
        cubic.layer(hidden_BTD)
        return hidden_BTD.sum(1) @ cubic.weight_CD.T

    with pytest.raises(ValueError, match="do not depend on the scored layer"):
        unit_importance(beside, cubic.layer, rows_BT)


def test_the_mean_over_one_row_is_that_row_to_the_last_bit() -> None:
    """As where a head reads one row: the same bytes as the sum over rows, −0 and NaN included."""
    values_BTD = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    row_B = torch.tensor([0, 3, 1, 1, 2])
    values_BTD[1, 3, 0] = -0.0
    values_BTD[2, 1, 1] = float("nan")
    values_BTD[3, 2] = float("inf")  # of a row that does not count
    rows_BT = torch.nn.functional.one_hot(row_B, 4).bool()
    found_BD = _row_mean(values_BTD, rows_BT)
    # An example more, without a row, takes the way of the sum.
    more_BTD = torch.cat([values_BTD, values_BTD[:1]])
    more_BT = torch.cat([rows_BT, torch.zeros(1, 4, dtype=torch.bool)])
    expected_BD = _row_mean(more_BTD, more_BT)[:5]
    assert found_BD.dtype == torch.float64
    assert found_BD.numpy().tobytes() == expected_BD.numpy().tobytes()
    assert found_BD[1, 0].signbit().item() is False
    assert torch.equal(found_BD[0], values_BTD[0, 0].double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["gradient_activation", "integrated_gradients"])
def test_products_of_half_precision_are_taken_in_fp32(kind: str, dtype: torch.dtype) -> None:
    # |g h| is about 1e-8, where fp16 has only 0 and 6e-8, and bf16 three digits at any size.
    generator = torch.Generator().manual_seed(1)
    weight_CD = (1e-4 * torch.randn(2, 4, generator=generator)).to(dtype)
    hidden_BTD = (1e-3 * torch.randn(3, 1, 4, generator=generator)).to(dtype)
    labels_B, layer = torch.tensor([0, 1, 0]), nn.Identity()
    importance = unit_importance(
        lambda: layer(hidden_BTD)[:, 0] @ weight_CD.T,
        layer,
        torch.ones(3, 1, dtype=torch.bool),
        kind=kind,
        output="label_logit",
        labels_B=labels_B,
        steps=8,
    )
    expected_BD = (hidden_BTD[:, 0].double() * weight_CD[labels_B].double()).abs()
    torch.testing.assert_close(importance.score_BD, expected_BD, rtol=1e-6, atol=0)
