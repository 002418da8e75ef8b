"""The same network with its hidden state in another basis: which measures notice it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from torch import Tensor, nn

from flexkd_core.geometry import (
    contribution_directions,
    contribution_spectrum,
    spectrum,
    unit_contribution,
)
from flexkd_core.scoring import Importance, unit_importance

EXAMPLES, POSITIONS, UNITS = 24, 3, 6
ROWS_BT = torch.arange(POSITIONS) < 1 + torch.arange(EXAMPLES)[:, None] % POSITIONS
INPUT_BTE = torch.randn(
    EXAMPLES, POSITIONS, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
)
BASES = {
    "none": np.eye(UNITS),
    "scaling": np.diag([0.01, 5.0, 1.0, 300.0, 2.0, 0.5]),
    "rotation": ortho_group.rvs(UNITS, random_state=3),
    "any": np.random.default_rng(5).normal(size=(UNITS, UNITS)) + 3 * np.eye(UNITS),
}
Measure = Literal[
    "gradient",
    "gradient_activation",
    "unit_contribution",
    "spectrum",
    "contribution_spectrum",
]


class Network(nn.Module):
    """h' = A h at the layer, and A⁻¹ h' above it: the outputs are the same for any A."""

    def __init__(self, basis_DD: np.ndarray) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)

        def matrix(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, dtype=torch.float64, generator=generator)

        self.layer = nn.Identity()
        self.basis_DD = torch.from_numpy(basis_DD)
        self.below_ED, self.inner_DD, self.out_DC = matrix(5, 6), matrix(6, 6), matrix(6, 2)

    def forward(self) -> Tensor:
        hidden_BTD = torch.tanh(INPUT_BTE @ self.below_ED) + 0.5
        hidden_BTD = self.layer(hidden_BTD @ self.basis_DD.T) @ self.basis_DD.inverse().T
        return (torch.tanh(hidden_BTD @ self.inner_DD) @ self.out_DC).sum(dim=1)


def scored(basis: str, kind: str = "gradient") -> Importance:
    network = Network(BASES[basis])
    return unit_importance(
        network.forward, network.layer, ROWS_BT, kind=kind, output="logit_jacobian", moments="token"
    )


def moments(basis: str) -> tuple[np.ndarray, np.ndarray]:
    found = scored(basis)
    assert found.gradients is not None
    assert found.features is not None
    return found.gradients.mean(), found.features.covariance()


def measured(measure: Measure, basis: str) -> np.ndarray:
    if measure in ("gradient", "gradient_activation"):
        return scored(basis, measure).score_BD.numpy()
    moment_DD, covariance_DD = moments(basis)
    if measure == "spectrum":
        return spectrum(moment_DD)
    of = unit_contribution if measure == "unit_contribution" else contribution_spectrum
    return of(moment_DD, covariance_DD)


def test_the_network_computes_the_same_in_every_basis() -> None:
    logits_BC = scored("none").logits_BC
    for basis in BASES:
        torch.testing.assert_close(scored(basis).logits_BC, logits_BC)


@pytest.mark.parametrize(
    ("measure", "scaling", "rotation", "any_"),
    [
        ("gradient", False, False, False),
        ("gradient_activation", True, False, False),
        ("unit_contribution", True, False, False),
        ("spectrum", False, True, False),
        ("contribution_spectrum", True, True, True),
    ],
)
def test_which_measure_is_invariant_under_which_change_of_basis(
    measure: Measure, scaling: bool, rotation: bool, any_: bool
) -> None:
    expected = measured(measure, "none")
    for basis, invariant in (("scaling", scaling), ("rotation", rotation), ("any", any_)):
        found = measured(measure, basis)
        gap = np.abs(found - expected).max() / np.abs(expected).max()
        assert (gap < 1e-9) if invariant else (gap > 0.05), (basis, gap)


@pytest.mark.parametrize("basis", ["scaling", "rotation", "any"])
def test_contribution_directions_read_the_same_features_in_every_basis(basis: str) -> None:
    features = []
    for name in ("none", basis):
        directions_DC = contribution_directions(*moments(name), 3).vectors_DC
        features.append(scored(name).hidden_BTD[ROWS_BT].numpy() @ directions_DC)
    signs_C = np.sign((features[0] * features[1]).sum(axis=0))
    np.testing.assert_allclose(features[1] * signs_C, features[0], rtol=1e-6, atol=1e-8)
