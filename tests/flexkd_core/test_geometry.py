"""Functional geometry: known spectra first, then references, merging and errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from scipy.stats import ortho_group
from sklearn.decomposition import TruncatedSVD

from flexkd_core import geometry
from flexkd_core.geometry import (
    GradientMoment,
    Matrix,
    Vector,
    contribution_directions,
    contribution_spectrum,
    effective_dimension,
    participation_ratio,
    recurring_directions,
    spectrum,
    subspace_overlap,
    top_directions,
    unit_contribution,
)
from flexkd_core.moments import gradient_moment
from flexkd_core.scoring import unit_importance

EIGENVALUES = np.array([5.0, 3.0, 1.5, 0.5])
ROTATION = ortho_group.rvs(4, random_state=0)
MOMENT_DD = ROTATION @ np.diag(EIGENVALUES) @ ROTATION.T


def gradients(examples: int, outputs: int = 1, units: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(examples)
    return torch.randn(examples, outputs, units, dtype=torch.float64, generator=generator)


def moment_of(gradient_BKD: torch.Tensor, valid: list[bool] | None = None) -> GradientMoment:
    """The moment of examples with one counted row each, or none."""
    examples, outputs, units = gradient_BKD.shape
    rows_B1 = torch.tensor(valid if valid is not None else [True] * examples)[:, None]
    total = GradientMoment.empty(units)
    for output in range(outputs):
        total += gradient_moment(gradient_BKD[:, output, None], rows_B1)
    return total.over_outputs(outputs)


def test_known_spectrum() -> None:
    np.testing.assert_allclose(spectrum(MOMENT_DD), EIGENVALUES)
    # (5 + 3 + 1.5 + 0.5)² / (25 + 9 + 2.25 + 0.25)
    assert participation_ratio(MOMENT_DD) == pytest.approx(100 / 36.5)
    assert [effective_dimension(MOMENT_DD, share=s) for s in (0.5, 0.79, 0.94, 0.95, 0.96)] == [
        1,
        2,
        3,
        3,
        4,
    ]
    assert effective_dimension(MOMENT_DD) == 3
    assert effective_dimension(MOMENT_DD, share=1.0) == 4


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e100])
def test_isotropic_moment_uses_every_direction_and_a_single_gradient_one(scale: float) -> None:
    assert participation_ratio(np.eye(7) * scale) == pytest.approx(7)
    assert effective_dimension(np.eye(20) * scale) == 19
    g_D = np.array([1.0, -2.0, 0.5])
    single_DD = np.outer(g_D, g_D) * scale
    assert participation_ratio(single_DD) == pytest.approx(1)
    assert effective_dimension(single_DD) == 1
    assert (spectrum(single_DD) >= 0).all()


def test_geometry_does_not_depend_on_the_basis_but_the_share_of_units_does() -> None:
    diagonal_DD = np.diag(EIGENVALUES)
    assert participation_ratio(diagonal_DD) == pytest.approx(participation_ratio(MOMENT_DD))
    assert geometry.kept_share(diagonal_DD, [0, 1]) == pytest.approx(0.8)
    kept = [geometry.kept_share(MOMENT_DD, [unit]) for unit in range(4)]
    assert sum(kept) == pytest.approx(1)
    np.testing.assert_allclose(kept, np.diagonal(MOMENT_DD) / 10)


def test_no_units_keep_more_than_the_top_directions() -> None:
    directions_DC = top_directions(MOMENT_DD, 2).vectors_DC
    captured = np.trace(directions_DC.T @ MOMENT_DD @ directions_DC) / np.trace(MOMENT_DD)
    assert captured == pytest.approx(0.8)
    assert all(
        geometry.kept_share(MOMENT_DD, [a, b]) <= captured for a in range(4) for b in range(a)
    )


def test_top_directions_are_orthonormal_eigenvectors_of_fixed_sign() -> None:
    found = top_directions(MOMENT_DD, 3)
    directions_DC = found.vectors_DC
    np.testing.assert_allclose(found.values_C, EIGENVALUES[:3])
    np.testing.assert_allclose(directions_DC.T @ directions_DC, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(MOMENT_DD @ directions_DC, directions_DC * EIGENVALUES[:3])
    largest_C = np.abs(directions_DC).argmax(0)
    assert (directions_DC[largest_C, range(3)] > 0).all()
    assert top_directions(MOMENT_DD, 0).vectors_DC.shape == (4, 0)


def test_moment_agrees_with_an_svd_of_the_gradients() -> None:
    gradient_BKD = gradients(20)
    moment = moment_of(gradient_BKD)
    assert moment.count == 20
    svd = TruncatedSVD(5, algorithm="arpack", random_state=0).fit(gradient_BKD[:, 0].numpy())
    np.testing.assert_allclose(spectrum(moment.mean())[:5], svd.singular_values_**2 / 20)
    np.testing.assert_allclose(
        moment.mean(), np.mean([np.outer(g, g) for g in gradient_BKD[:, 0].numpy()], axis=0)
    )


def test_several_outputs_are_averaged_and_examples_without_rows_left_out() -> None:
    gradient_BKD = gradients(3, outputs=2)
    moment = moment_of(gradient_BKD, [True, False, True])
    assert moment.count == 2
    kept = gradient_BKD[[0, 2]].reshape(4, 6).numpy()
    np.testing.assert_allclose(moment.mean(), np.mean([np.outer(g, g) for g in kept], axis=0))


def test_parts_add_up_to_the_whole() -> None:
    gradient_BKD = gradients(9)
    whole = moment_of(gradient_BKD)
    parts = GradientMoment.empty(6) + moment_of(gradient_BKD[:4]) + moment_of(gradient_BKD[4:])
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.sum_DD, whole.sum_DD, rtol=1e-13, atol=1e-13)


def test_linear_head_has_as_many_directions_as_independent_logits() -> None:
    weight_CD = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    hidden_BTD = torch.randn(50, 1, 8, generator=torch.Generator().manual_seed(1))
    layer = torch.nn.Identity()
    found = unit_importance(
        lambda: layer(hidden_BTD)[:, 0] @ weight_CD.T,
        layer,
        torch.ones(50, 1, dtype=torch.bool),
        output="logit_jacobian",
        moments="token",
    )
    assert found.gradients is not None
    assert (found.gradients.count, found.gradients.rows) == (50, 150)
    moment_DD = found.gradients.mean()
    np.testing.assert_allclose(moment_DD, (weight_CD.T @ weight_CD / 3).numpy(), rtol=1e-5)
    assert effective_dimension(moment_DD, share=1 - 1e-9) == 3


def test_errors() -> None:
    with pytest.raises(ValueError, match="no example was counted"):
        GradientMoment.empty(3).mean()
    with pytest.raises(ValueError, match="over 3 and 4 units"):
        GradientMoment.empty(3).merge(GradientMoment.empty(4))
    with pytest.raises(ValueError, match="a square matrix and counts"):
        GradientMoment(np.zeros((2, 3)), 0, 0)
    with pytest.raises(ValueError, match="moment is 0"):
        participation_ratio(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="square matrix"):
        spectrum(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="not finite"):
        spectrum(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="share 0 must be"):
        effective_dimension(MOMENT_DD, share=0)
    with pytest.raises(ValueError, match="cannot take 5 directions"):
        top_directions(MOMENT_DD, 5)


# --- contribution ------------------------------------------------------------------------------


def drawn_moments(units: int = 6, rows: int = 40, seed: int = 0) -> tuple[Matrix, Matrix]:
    """M of some gradients, and Σ of features of very different scales."""
    draw = np.random.default_rng(seed)
    gradient_ND = draw.normal(size=(rows, units)) * np.geomspace(0.1, 10, units)
    mixing_DD = draw.normal(size=(units, units))
    feature_ND = draw.normal(size=(rows, units)) @ mixing_DD * np.geomspace(100, 0.01, units)
    return gradient_ND.T @ gradient_ND / rows, np.cov(feature_ND.T, bias=True)


def transformed(
    moment_DD: Matrix, covariance_DD: Matrix, basis_DD: Matrix
) -> tuple[Matrix, Matrix]:
    """Both in the basis h' = A h: g' = A⁻ᵀ g."""
    inverse_DD = np.linalg.inv(basis_DD)
    return inverse_DD.T @ moment_DD @ inverse_DD, basis_DD @ covariance_DD @ basis_DD.T


BASES = {
    "any": np.random.default_rng(5).normal(size=(6, 6)) + 3 * np.eye(6),
    "scaling": np.diag([0.01, 5.0, 1.0, 300.0, 2.0, 0.5]),
    "rotation": ortho_group.rvs(6, random_state=3),
}


@pytest.mark.parametrize("basis", BASES)
def test_contribution_does_not_depend_on_the_basis(basis: str) -> None:
    moment_DD, covariance_DD = drawn_moments()
    other = transformed(moment_DD, covariance_DD, BASES[basis])
    expected_D = contribution_spectrum(moment_DD, covariance_DD)
    np.testing.assert_allclose(contribution_spectrum(*other), expected_D, rtol=1e-6)
    # The features wᵀh are the same ones, up to their sign: w' = A⁻ᵀ w.
    found, moved = (
        contribution_directions(m, c, 3) for m, c in ((moment_DD, covariance_DD), other)
    )
    np.testing.assert_allclose(moved.values_C, found.values_C, rtol=1e-6)
    back_DC = BASES[basis].T @ moved.vectors_DC
    signs_C = np.sign((back_DC * found.vectors_DC).sum(axis=0))
    np.testing.assert_allclose(back_DC * signs_C, found.vectors_DC, rtol=1e-5, atol=1e-9)


def test_which_measures_depend_on_which_basis() -> None:
    moment_DD, covariance_DD = drawn_moments()

    def changes(measure: Callable[..., Vector], basis: str) -> bool:
        other = measure(*transformed(moment_DD, covariance_DD, BASES[basis]))
        return not np.allclose(measure(moment_DD, covariance_DD), other, rtol=1e-6, atol=0)

    def sensitivity(moment_DD: Matrix, _: Matrix) -> Vector:
        return spectrum(moment_DD)

    found = {
        (measure.__name__, basis): changes(measure, basis)
        for measure in (sensitivity, unit_contribution, contribution_spectrum)
        for basis in BASES
    }
    assert found == {
        ("sensitivity", "any"): True,
        ("sensitivity", "scaling"): True,
        ("sensitivity", "rotation"): False,
        ("unit_contribution", "any"): True,
        ("unit_contribution", "scaling"): False,
        ("unit_contribution", "rotation"): True,
        ("contribution_spectrum", "any"): False,
        ("contribution_spectrum", "scaling"): False,
        ("contribution_spectrum", "rotation"): False,
    }


def test_contribution_is_the_variance_of_the_output() -> None:
    """For F = cᵀh it is the variance of F itself, and a unit's share its covariance with F."""
    draw = np.random.default_rng(2)
    feature_ND = draw.normal(size=(500, 5)) @ draw.normal(size=(5, 5)) + 7
    weight_D = draw.normal(size=5)
    moment_DD, covariance_DD = np.outer(weight_D, weight_D), np.cov(feature_ND.T, bias=True)
    output_N = feature_ND @ weight_D
    shares_D = unit_contribution(moment_DD, covariance_DD)
    share_ND = feature_ND * weight_D
    expected_D = [np.cov(share_N, output_N, bias=True)[0, 1] for share_N in share_ND.T]
    np.testing.assert_allclose(shares_D, expected_D)
    assert shares_D.sum() == pytest.approx(output_N.var())
    values_D = contribution_spectrum(moment_DD, covariance_DD)
    assert values_D[0] == pytest.approx(output_N.var())
    assert values_D[1:].max() < 1e-9 * values_D[0]


def test_contribution_directions_are_those_of_scipys_generalised_problem() -> None:
    moment_DD, covariance_DD = drawn_moments()
    found = contribution_directions(moment_DD, covariance_DD, 6)
    values_D, _ = eigh(moment_DD, np.linalg.inv(covariance_DD))
    np.testing.assert_allclose(found.values_C, values_D[::-1], rtol=1e-6)
    vectors_DC = found.vectors_DC
    np.testing.assert_allclose(vectors_DC.T @ covariance_DD @ vectors_DC, np.eye(6), atol=1e-6)
    np.testing.assert_allclose(
        moment_DD @ covariance_DD @ vectors_DC, vectors_DC * found.values_C, rtol=1e-5, atol=1e-4
    )
    largest_C = np.abs(vectors_DC).argmax(0)
    assert (vectors_DC[largest_C, range(6)] > 0).all()


def test_features_that_do_not_vary_have_no_directions() -> None:
    moment_DD, covariance_DD = drawn_moments()
    covariance_DD[2] = covariance_DD[:, 2] = 0
    assert (contribution_spectrum(moment_DD, covariance_DD) > 0).sum() == 5
    assert np.abs(contribution_directions(moment_DD, covariance_DD, 5).vectors_DC[2]).max() < 1e-12
    with pytest.raises(ValueError, match="cannot take 6 directions: the features vary in 5 only"):
        contribution_directions(moment_DD, covariance_DD, 6)
    with pytest.raises(ValueError, match="of different layers"):
        unit_contribution(moment_DD, np.eye(5))


# --- stability ---------------------------------------------------------------------------------


def test_a_span_overlaps_with_itself_in_any_basis_and_with_its_complement_not_at_all() -> None:
    basis_DD = BASES["rotation"]
    mixed_DC = basis_DD[:, :3] @ np.array([[1.0, 2, 0], [0, 1, 5], [3, 0, 1]])
    assert subspace_overlap(basis_DD[:, :3], mixed_DC) == pytest.approx(1)
    assert subspace_overlap(basis_DD[:, :3], basis_DD[:, 3:]) == pytest.approx(0, abs=1e-12)
    assert subspace_overlap(np.eye(6)[:, :2], np.eye(6)[:, 1:3]) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="cannot be compared"):
        subspace_overlap(basis_DD[:, :3], basis_DD[:, :2])


def test_directions_recur_in_any_order_and_sign() -> None:
    basis_DD = BASES["rotation"]
    assert recurring_directions(basis_DD, -basis_DD[:, ::-1] * 4) == 6
    turned_DC = basis_DD.copy()
    angle = np.arccos(0.9) + 0.01
    turned_DC[:, 0] = np.cos(angle) * basis_DD[:, 0] + np.sin(angle) * basis_DD[:, 1]
    assert recurring_directions(basis_DD[:, :1], turned_DC[:, :1]) == 0
    assert recurring_directions(basis_DD[:, :1], turned_DC[:, :1], cosine=0.8) == 1


@pytest.mark.parametrize("basis", BASES)
def test_recurrence_of_features_does_not_depend_on_the_basis(basis: str) -> None:
    draw = np.random.default_rng(4)
    _, covariance_DD = drawn_moments()
    scale_D1 = 1 / np.sqrt(np.diagonal(covariance_DD))[:, None]
    first_DC = draw.normal(size=(6, 4)) * scale_D1
    second_DC = first_DC + 1.5 * draw.normal(size=(6, 4)) * scale_D1
    inverse_DD = np.linalg.inv(BASES[basis]).T
    moved = (inverse_DD @ first_DC, inverse_DD @ second_DC)
    there_DD = BASES[basis] @ covariance_DD @ BASES[basis].T
    overlap = subspace_overlap(first_DC, second_DC, covariance_DD=covariance_DD)
    assert 0.5 < overlap < 0.99
    assert subspace_overlap(*moved, covariance_DD=there_DD) == pytest.approx(overlap, rel=1e-6)
    # The cosine is the correlation of features drawn with this covariance.
    feature_ND = draw.multivariate_normal(np.zeros(6), covariance_DD, size=100_000)
    correlation_CC = np.corrcoef((feature_ND @ first_DC).T, (feature_ND @ second_DC).T)[:4, 4:]
    middle = float(np.median(np.abs(np.diagonal(correlation_CC))))
    counts = [
        recurring_directions(first_DC, second_DC, cosine=middle, covariance_DD=covariance_DD),
        recurring_directions(*moved, cosine=middle, covariance_DD=there_DD),
    ]
    assert counts == [2, 2]


def test_correlated_features_recur_where_their_vectors_look_alike_or_do_not() -> None:
    covariance_DD = np.diag([1.0, 1e-8])  # unit 1 hardly varies: what a vector has there is noise
    first_DC, noisy_DC = np.array([[1.0], [0.0]]), np.array([[1.0], [5.0]])
    assert recurring_directions(first_DC, noisy_DC) == 0
    assert recurring_directions(first_DC, noisy_DC, covariance_DD=covariance_DD) == 1
    with pytest.raises(ValueError, match="covariance of 3 units does not fit"):
        recurring_directions(first_DC, noisy_DC, covariance_DD=np.eye(3))
