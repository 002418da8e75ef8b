"""Functional geometry: known spectra first, then references, merging and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group
from sklearn.decomposition import TruncatedSVD

from flexkd_core import geometry
from flexkd_core.geometry import (
    GradientMoment,
    effective_dimension,
    participation_ratio,
    spectrum,
    top_directions,
)
from flexkd_core.scoring import Importance, unit_importance

EIGENVALUES = np.array([5.0, 3.0, 1.5, 0.5])
ROTATION = ortho_group.rvs(4, random_state=0)
MOMENT_DD = ROTATION @ np.diag(EIGENVALUES) @ ROTATION.T


def gradients(examples: int, outputs: int = 1, units: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(examples)
    return torch.randn(examples, outputs, units, dtype=torch.float64, generator=generator)


def importance(gradient_BKD: torch.Tensor, valid: list[bool] | None = None) -> Importance:
    examples, _, units = gradient_BKD.shape
    return Importance(
        score_BD=gradient_BKD.abs().mean(1),
        valid_B=torch.tensor(valid if valid is not None else [True] * examples, dtype=torch.bool),
        hidden_BTD=torch.zeros(examples, 1, units),
        logits_BC=torch.zeros(examples, 2),
        gradient_BKD=gradient_BKD,
    )


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
    directions_DC = top_directions(MOMENT_DD, 2)
    captured = np.trace(directions_DC.T @ MOMENT_DD @ directions_DC) / np.trace(MOMENT_DD)
    assert captured == pytest.approx(0.8)
    assert all(
        geometry.kept_share(MOMENT_DD, [a, b]) <= captured for a in range(4) for b in range(a)
    )


def test_top_directions_are_orthonormal_eigenvectors_of_fixed_sign() -> None:
    directions_DC = top_directions(MOMENT_DD, 3)
    np.testing.assert_allclose(directions_DC.T @ directions_DC, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(MOMENT_DD @ directions_DC, directions_DC * EIGENVALUES[:3])
    largest_C = np.abs(directions_DC).argmax(0)
    assert (directions_DC[largest_C, range(3)] > 0).all()
    assert top_directions(MOMENT_DD, 0).shape == (4, 0)


def test_moment_agrees_with_an_svd_of_the_gradients() -> None:
    gradient_BKD = gradients(20)
    moment = GradientMoment.of(importance(gradient_BKD))
    assert moment.count == 20
    svd = TruncatedSVD(5, algorithm="arpack", random_state=0).fit(gradient_BKD[:, 0].numpy())
    np.testing.assert_allclose(spectrum(moment.mean())[:5], svd.singular_values_**2 / 20)
    np.testing.assert_allclose(
        moment.mean(), np.mean([np.outer(g, g) for g in gradient_BKD[:, 0].numpy()], axis=0)
    )


def test_several_outputs_are_averaged_and_examples_without_rows_left_out() -> None:
    gradient_BKD = gradients(3, outputs=2)
    moment = GradientMoment.of(importance(gradient_BKD, [True, False, True]))
    assert moment.count == 2
    kept = gradient_BKD[[0, 2]].reshape(4, 6).numpy()
    np.testing.assert_allclose(moment.mean(), np.mean([np.outer(g, g) for g in kept], axis=0))


def test_parts_add_up_to_the_whole() -> None:
    gradient_BKD = gradients(9)
    whole = GradientMoment.of(importance(gradient_BKD))
    parts = (
        GradientMoment.empty(6)
        + GradientMoment.of(importance(gradient_BKD[:4]))
        + GradientMoment.of(importance(gradient_BKD[4:]))
    )
    assert parts.count == whole.count
    np.testing.assert_allclose(parts.sum_DD, whole.sum_DD, rtol=1e-13, atol=1e-13)


def test_rows_in_one_order_give_the_same_bytes_however_they_came() -> None:
    gradient_ND = gradients(300)[:, 0].numpy()
    expected = GradientMoment.of_rows(gradient_ND)
    assert expected.count == 300
    np.testing.assert_allclose(
        expected.mean(), np.mean([np.outer(g, g) for g in gradient_ND], axis=0), rtol=1e-12
    )
    spread_ND = np.zeros((600, 7))[::2, 1:]  # neither aligned nor contiguous
    spread_ND[:] = gradient_ND
    for rows_ND in (
        np.concatenate(np.split(gradient_ND, [1, 7, 250])),
        np.asfortranarray(gradient_ND),
        spread_ND,
        torch.from_numpy(gradient_ND),
    ):
        assert GradientMoment.of_rows(rows_ND).sum_DD.tobytes() == expected.sum_DD.tobytes()
    whole = GradientMoment.of(importance(gradients(300)))
    assert whole.sum_DD.tobytes() == expected.sum_DD.tobytes()


def test_no_rows_add_nothing() -> None:
    moment = GradientMoment.of_rows(np.zeros((0, 6)))
    assert (moment.count, moment.sum_DD.shape) == (0, (6, 6))
    assert not moment.sum_DD.any()


def test_linear_head_has_as_many_directions_as_independent_logits() -> None:
    weight_CD = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    hidden_BTD = torch.randn(50, 1, 8, generator=torch.Generator().manual_seed(1))
    layer = torch.nn.Identity()
    found = unit_importance(
        lambda: layer(hidden_BTD)[:, 0] @ weight_CD.T,
        layer,
        torch.ones(50, 1, dtype=torch.bool),
        output="logit_jacobian",
    )
    moment_DD = GradientMoment.of(found).mean()
    np.testing.assert_allclose(moment_DD, (weight_CD.T @ weight_CD / 3).numpy(), rtol=1e-5)
    assert effective_dimension(moment_DD, share=1 - 1e-9) == 3


def test_errors() -> None:
    with pytest.raises(ValueError, match="score with kind 'gradient'"):
        GradientMoment.of(importance(gradients(2, outputs=0)))
    with pytest.raises(ValueError, match=r"\(examples, units\), not \(3,\)"):
        GradientMoment.of_rows(np.zeros(3))
    with pytest.raises(ValueError, match="no example was counted"):
        GradientMoment.empty(3).mean()
    with pytest.raises(ValueError, match="over 3 and 4 units"):
        GradientMoment.empty(3).merge(GradientMoment.empty(4))
    with pytest.raises(ValueError, match="a square matrix and a count"):
        GradientMoment(np.zeros((2, 3)), 0)
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
