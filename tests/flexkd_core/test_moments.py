"""Moments of gradients and features: a loop over tokens as the reference, merging, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flexkd_core.geometry import contribution_directions
from flexkd_core.moments import FeatureMoment, GradientMoment, feature_moment, gradient_moment
from flexkd_core.scoring import unit_importance

ROWS_BT = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.bool)
COUNTED = [0, 2, 3]


def drawn(seed: int = 0, units: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*ROWS_BT.shape, units, dtype=torch.float64, generator=generator)


def reference(values_BTD: Tensor, *, mean_first: bool) -> np.ndarray:
    """E[h hᵀ] by loops; mean_first: of each example's mean."""
    moments = []
    for example in COUNTED:
        rows = [values_BTD[example, t].numpy() for t in range(4) if ROWS_BT[example, t]]
        if mean_first:
            rows = [np.mean(rows, axis=0)]
        moments.append(np.mean([np.outer(row, row) for row in rows], axis=0))
    found: np.ndarray = np.mean(moments, axis=0)
    return found


@pytest.mark.parametrize(("kind", "rows"), [("token", 7), ("example", 3)])
def test_is_that_of_a_loop_over_tokens(kind: str, rows: int) -> None:
    values_BTD = drawn()
    moment = gradient_moment(values_BTD, ROWS_BT, kind)  # type: ignore[arg-type]
    assert (moment.count, moment.rows) == (3, rows)
    np.testing.assert_allclose(moment.mean(), reference(values_BTD, mean_first=kind == "example"))
    np.testing.assert_array_equal(moment.sum_DD, moment.sum_DD.T)
    assert moment.rank_limited is (rows < 5)


def test_tokens_of_opposite_sign_cancel_in_an_examples_mean_only() -> None:
    values_BTD = torch.tensor([[[1.0, 2.0], [-1.0, -2.0]]])
    rows_BT = torch.ones(1, 2, dtype=torch.bool)
    assert not gradient_moment(values_BTD, rows_BT, "example").sum_DD.any()
    np.testing.assert_allclose(
        gradient_moment(values_BTD, rows_BT, "token").sum_DD, [[1, 2], [2, 4]]
    )


def test_with_one_row_an_example_both_kinds_are_the_same() -> None:
    values_BTD = drawn()
    rows_BT = torch.zeros_like(ROWS_BT)
    rows_BT[:, 2] = True
    one, other = (gradient_moment(values_BTD, rows_BT, kind) for kind in ("token", "example"))
    np.testing.assert_allclose(one.sum_DD, other.sum_DD, rtol=1e-14)


@pytest.mark.parametrize("kind", ["token", "example"])
def test_values_that_are_not_counted_have_no_effect(kind: str) -> None:
    values_BTD, spoiled_BTD = drawn(), drawn()
    spoiled_BTD[~ROWS_BT] = torch.nan
    expected = gradient_moment(values_BTD, ROWS_BT, kind)  # type: ignore[arg-type]
    found = gradient_moment(spoiled_BTD, ROWS_BT, kind)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.sum_DD, expected.sum_DD)
    spoiled, clean = (feature_moment(side, ROWS_BT) for side in (spoiled_BTD, values_BTD))
    np.testing.assert_array_equal(spoiled.scatter_DD, clean.scatter_DD)
    np.testing.assert_array_equal(spoiled.sum_D, clean.sum_D)


def test_features_have_the_weighted_mean_and_covariance() -> None:
    values_BTD = drawn(3)
    moment = feature_moment(values_BTD, ROWS_BT)
    assert (moment.count, moment.rows) == (3, 7)
    rows_ND = values_BTD[ROWS_BT].numpy()
    weight_N = np.array([1 / 3] * 3 + [1.0] + [1 / 3] * 3)
    np.testing.assert_allclose(moment.mean(), np.average(rows_ND, axis=0, weights=weight_N))
    np.testing.assert_allclose(
        moment.covariance(), np.cov(rows_ND.T, aweights=weight_N, bias=True), atol=1e-14
    )


def test_a_small_spread_around_a_large_mean_is_kept_and_a_constant_has_none() -> None:
    draw = np.random.default_rng(0)
    features = 100 + 1e-2 * draw.normal(size=(400, 1, 4))
    features[:, :, 1] = 0.1
    found = feature_moment(torch.from_numpy(features), torch.ones(400, 1, dtype=torch.bool))
    expected_DD = np.cov(features[:, 0].T, bias=True)
    covariance_DD = found.covariance()
    others = [0, 2, 3]
    np.testing.assert_allclose(
        covariance_DD[np.ix_(others, others)],
        expected_DD[np.ix_(others, others)],
        rtol=1e-9,
    )
    assert not covariance_DD[1].any()


@pytest.mark.parametrize("mean", [0.0, 10.0, 1e3])
def test_few_examples_have_the_rank_of_their_number_whatever_their_mean(mean: float) -> None:
    """12 examples vary in 11 directions of 30, also where they are merged one by one."""
    draw = np.random.default_rng(0)
    features = draw.normal(size=(12, 1, 30)) + mean * draw.uniform(-1, 1, 30)
    features[:, :, 4] = 0.1 * mean
    total = FeatureMoment.empty(30)
    for example in features:
        total += feature_moment(torch.from_numpy(example[None]), torch.ones(1, 1).bool())
    np.testing.assert_allclose(
        total.covariance(), np.cov(features[:, 0].T, bias=True), rtol=1e-9, atol=1e-12
    )
    covariance_DD = total.covariance()
    assert not covariance_DD[4].any()
    contribution_directions(np.eye(30), covariance_DD, 11)
    with pytest.raises(ValueError, match="the features vary in 11 only"):
        contribution_directions(np.eye(30), covariance_DD, 12)


def test_parts_add_up_to_the_whole() -> None:
    values_BTD = drawn(1)
    gradients = GradientMoment.empty(5)
    features = FeatureMoment.empty(5)
    for part in (slice(0, 2), slice(2, 4)):
        gradients += gradient_moment(values_BTD[part], ROWS_BT[part])
        features += feature_moment(values_BTD[part], ROWS_BT[part])
    whole = gradient_moment(values_BTD, ROWS_BT)
    assert (gradients.count, gradients.rows) == (whole.count, whole.rows)
    np.testing.assert_allclose(gradients.sum_DD, whole.sum_DD, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        features.covariance(), feature_moment(values_BTD, ROWS_BT).covariance(), atol=1e-13
    )
    assert (features + FeatureMoment.empty(5)).count == 3
    np.testing.assert_array_equal(
        (FeatureMoment.empty(5) + features).covariance(), features.covariance()
    )


class Network(nn.Module):
    """A layer, and a head that reads every position and bends."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 5).double()
        self.head = nn.Linear(5, 2).double()

    def forward(self, input_BTE: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(self.layer(input_BTE)) ** 2).sum(dim=1)
        return logits


@pytest.mark.parametrize("kind", ["gradient", "gradient_activation"])
def test_importance_sums_the_moments_of_autograds_gradients(kind: str) -> None:
    network = Network()
    input_BTE = torch.randn(
        4, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    found = unit_importance(
        lambda: network(input_BTE), network.layer, ROWS_BT, kind=kind, moments="token"
    )
    assert found.gradients is not None
    assert found.features is not None
    gradient_BTD = torch.zeros(4, 4, 5, dtype=torch.float64)
    hidden_BTD = torch.zeros(4, 4, 5, dtype=torch.float64)
    for example in range(4):  # one at a time, through the whole graph
        hidden_TD = network.layer(input_BTE[example])
        logits_C = network.head(torch.tanh(hidden_TD) ** 2).sum(dim=0)
        (gradient_BTD[example],) = torch.autograd.grad(logits_C.max(), hidden_TD)
        hidden_BTD[example] = hidden_TD.detach()
    np.testing.assert_allclose(
        found.gradients.mean(), reference(gradient_BTD, mean_first=False), atol=1e-14
    )
    rows_ND = hidden_BTD[ROWS_BT].numpy()
    weight_N = np.array([1 / 3] * 3 + [1.0] + [1 / 3] * 3)
    np.testing.assert_allclose(
        found.features.covariance(), np.cov(rows_ND.T, aweights=weight_N, bias=True), atol=1e-13
    )
    product_BTD = gradient_BTD * (hidden_BTD if kind == "gradient_activation" else 1)
    for example in COUNTED:
        np.testing.assert_allclose(
            found.score_BD[example].numpy(),
            product_BTD[example][ROWS_BT[example]].abs().mean(dim=0).numpy(),
        )


def test_errors() -> None:
    with pytest.raises(ValueError, match="'tokens' is not one of"):
        gradient_moment(drawn(), ROWS_BT, "tokens")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no example was counted"):
        FeatureMoment.empty(3).covariance()
    with pytest.raises(ValueError, match="feature moments over 3 and 4 units"):
        FeatureMoment.empty(3).merge(FeatureMoment.empty(4))
    with pytest.raises(ValueError, match="does not fit its moment"):
        FeatureMoment(np.zeros((3, 3)), np.zeros(2), 0, 0)
    network = Network()
    with pytest.raises(ValueError, match="'activation' has no moments of gradients"):
        unit_importance(
            lambda: network(torch.zeros(4, 4, 3).double()),
            network.layer,
            ROWS_BT,
            kind="activation",
            moments="token",
        )
