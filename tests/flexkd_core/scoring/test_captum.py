"""Importance against Captum, an independent implementation of the same attributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from captum.attr import (
    IntegratedGradients,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Saliency,
)
from torch import Tensor, nn

from flexkd_core.scoring import unit_importance

EXAMPLES, POSITIONS, INPUTS, UNITS, CLASSES = 3, 4, 5, 6, 3


class Toy(nn.Module):
    """Classes from all positions; the scored layer gives 0 for an input of 0, Captum's baseline."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Linear(INPUTS, UNITS, bias=False), nn.Tanh())
        self.mix = nn.Linear(UNITS, 8)
        self.out = nn.Linear(8, CLASSES)

    def head(self, hidden_BTD: Tensor) -> Tensor:
        # Positions interact: the gradient at one depends on the others.
        weight_BT1 = hidden_BTD.sum(dim=2, keepdim=True).softmax(dim=1)
        return self.out(nn.functional.gelu(self.mix((weight_BT1 * hidden_BTD).sum(dim=1))))

    def forward(self, input_BTI: Tensor) -> Tensor:
        return self.head(self.layer(input_BTI))


@dataclass(frozen=True)
class Setting:
    model: Toy
    input_BTI: Tensor
    hidden_BTD: Tensor
    rows_BT: Tensor
    target_B: Tensor
    """The predicted classes."""

    def row_mean(self, values_BTD: Tensor) -> Tensor:
        rows_BT = self.rows_BT.double()
        weights_BT = rows_BT / rows_BT.sum(dim=1, keepdim=True)
        return torch.einsum("btd,bt->bd", values_BTD.detach(), weights_BT)


@pytest.fixture(params=["all rows", "some rows", "one row each"])
def setting(request: pytest.FixtureRequest) -> Setting:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Toy().double()
        input_BTI = 2 * torch.randn(EXAMPLES, POSITIONS, INPUTS, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # far from linear, so that the steps of a path differ
        target_B = model(input_BTI).argmax(dim=1)
        hidden_BTD = model.layer(input_BTI)
    rows_BT = torch.ones(EXAMPLES, POSITIONS, dtype=torch.bool)
    if request.param == "some rows":
        rows_BT[0, 2:] = rows_BT[2, 0] = False
    if request.param == "one row each":
        rows_BT[:] = torch.arange(POSITIONS) == torch.tensor([[1], [3], [0]])
    return Setting(model, input_BTI, hidden_BTD, rows_BT, target_B)


def test_gradient_is_the_saliency_of_the_layer(setting: Setting) -> None:
    importance = unit_importance(
        lambda: setting.model(setting.input_BTI), setting.model.layer, setting.rows_BT
    )
    attribution_BTD = Saliency(setting.model.head).attribute(
        setting.hidden_BTD.clone().requires_grad_(), target=setting.target_B
    )
    torch.testing.assert_close(
        importance.score_BD, setting.row_mean(attribution_BTD), rtol=1e-12, atol=1e-14
    )


def test_gradient_times_activation_is_that_of_the_layer(setting: Setting) -> None:
    importance = unit_importance(
        lambda: setting.model(setting.input_BTI),
        setting.model.layer,
        setting.rows_BT,
        kind="gradient_activation",
    )
    attribution_BTD = LayerGradientXActivation(setting.model, setting.model.layer).attribute(
        setting.input_BTI, target=setting.target_B
    )
    torch.testing.assert_close(
        importance.score_BD, setting.row_mean(attribution_BTD.abs()), rtol=1e-12, atol=1e-14
    )


def test_moments_are_those_of_the_signed_saliency(setting: Setting) -> None:
    attribution_BTD = Saliency(setting.model.head).attribute(
        setting.hidden_BTD.clone().requires_grad_(), target=setting.target_B, abs=False
    )
    signed_BD = setting.row_mean(attribution_BTD)
    rows_BT = setting.rows_BT.double()
    weights_BT = rows_BT / rows_BT.sum(dim=1, keepdim=True)
    expected = {
        "example": signed_BD.T @ signed_BD,
        "token": torch.einsum("bti,btj,bt->ij", attribution_BTD, attribution_BTD, weights_BT),
    }
    for moments, expected_DD in expected.items():
        found = unit_importance(
            lambda: setting.model(setting.input_BTI),
            setting.model.layer,
            setting.rows_BT,
            moments=moments,
        ).gradients
        np.testing.assert_allclose(found.sum_DD, expected_DD, rtol=1e-11, atol=1e-13)


# Powers of two: Captum keeps the step size 1/m in fp32, which 1/5 does not fit into.
@pytest.mark.parametrize("steps", [2, 8, 16])
@pytest.mark.parametrize("way", ["head alone", "layer of the model"])
def test_integrated_gradients_are_the_right_riemann_sum(
    setting: Setting, steps: int, way: str
) -> None:
    importance = unit_importance(
        lambda: setting.model(setting.input_BTI),
        setting.model.layer,
        setting.rows_BT,
        kind="integrated_gradients",
        steps=steps,
    )
    path = {"target": setting.target_B, "n_steps": steps, "method": "riemann_right"}
    if way == "head alone":
        attribution_BTD = IntegratedGradients(setting.model.head).attribute(
            setting.hidden_BTD, baselines=0.0, **path
        )
    else:
        attribution_BTD = LayerIntegratedGradients(setting.model, setting.model.layer).attribute(
            setting.input_BTI, baselines=0.0, **path
        )
    torch.testing.assert_close(
        importance.score_BD, setting.row_mean(attribution_BTD.abs()), rtol=1e-12, atol=1e-14
    )


def test_another_riemann_sum_is_another_number(setting: Setting) -> None:
    # The comparison above can fail: at eight steps the left sum differs by more than a percent.
    importance = unit_importance(
        lambda: setting.model(setting.input_BTI),
        setting.model.layer,
        setting.rows_BT,
        kind="integrated_gradients",
        steps=8,
    )
    attribution_BTD = IntegratedGradients(setting.model.head).attribute(
        setting.hidden_BTD,
        baselines=0.0,
        target=setting.target_B,
        n_steps=8,
        method="riemann_left",
    )
    left_BD = setting.row_mean(attribution_BTD.abs())
    assert (importance.score_BD - left_BD).norm() > 0.01 * left_BD.norm()
