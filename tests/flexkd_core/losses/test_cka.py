"""CKA: laws first, then an independent reference, then the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from flexkd_core.losses import cka_loss, linear_cka
from flexkd_core.losses.cka import Form

from .drawn import features

FORMS: list[Form] = ["sqrt", "kornblith"]
# Rows against units on either side of the cheaper orientation of the products.
SHAPES = [(4, 9, 12), (40, 5, 7)]
GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "repsim_cka.json").read_text())
"""Written by golden/make_repsim_cka.py."""


def reference(s: np.ndarray, t: np.ndarray, form: Form, epsilon: float = 1e-8) -> float:
    """HSIC by an explicit centring matrix, in the orientation of Kornblith et al., Eq. 3."""
    n = len(s)
    centre = np.eye(n) - np.ones((n, n)) / n
    k, m = centre @ s @ s.T @ centre, centre @ t @ t.T @ centre
    cross, student, teacher = np.trace(k @ m), np.trace(k @ k) ** 0.5, np.trace(m @ m) ** 0.5
    if form == "kornblith":
        return float(cross / (student * teacher))
    return float(cross**0.5 / ((student + epsilon) * (teacher + epsilon)) ** 0.5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "units", "_"), SHAPES)
def test_invariant_to_rotation_scale_and_shift(form: Form, rows: int, units: int, _: int) -> None:
    x_NS = features(rows, units, seed=0)
    rotation_SS = torch.from_numpy(ortho_group.rvs(units, random_state=1))
    assert linear_cka(x_NS, x_NS @ rotation_SS * 3 - 2, form=form).item() == pytest.approx(1)
    assert cka_loss(x_NS @ rotation_SS, x_NS, form=form).item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "s", "t"), SHAPES)
def test_symmetric_and_between_zero_and_one(form: Form, rows: int, s: int, t: int) -> None:
    s_NS, t_NT = features(rows, s, seed=2), features(rows, t, seed=3)
    cka = linear_cka(s_NS, t_NT, form=form)
    torch.testing.assert_close(cka, linear_cka(t_NT, s_NS, form=form))
    assert 0 < cka < 1


def test_forms_are_square_and_root_of_each_other_up_to_epsilon() -> None:
    s_NS, t_NT = features(30, 4, seed=2), features(30, 6, seed=3)
    torch.testing.assert_close(
        linear_cka(s_NS, t_NT, form="sqrt") ** 2, linear_cka(s_NS, t_NT, form="kornblith")
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "s", "t"), SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e-3])  # at 1e-3 epsilon weighs in the sqrt form
def test_agrees_with_the_hsic_reference(
    form: Form, rows: int, s: int, t: int, scale: float
) -> None:
    s_NS, t_NT = features(rows, s, seed=4) * scale + 1, features(rows, t, seed=5)
    expected = reference(s_NS.numpy(), t_NT.numpy(), form)
    assert linear_cka(s_NS, t_NT, form=form).item() == pytest.approx(expected, rel=1e-9)
    assert cka_loss(s_NS, t_NT, form=form).item() == pytest.approx(1 - expected, rel=1e-9)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=["few rows", "many rows"])
def test_agrees_with_the_repsim_package(case: dict) -> None:
    s_NS, t_NT = (torch.tensor(case[k], dtype=torch.float64) for k in ("student", "teacher"))
    kornblith = linear_cka(s_NS, t_NT, form="kornblith").item()
    assert kornblith == pytest.approx(case["cka"], rel=1e-12)
    # The other form is its root, but for the ε of 1e-8 beside norms of about 10.
    assert linear_cka(s_NS, t_NT, form="sqrt").item() ** 2 == pytest.approx(case["cka"], rel=1e-8)


def test_epsilon_sits_beside_each_self_norm() -> None:
    # One unit over rows (-a, a): both self-norms are 2a², the cross norm too. a² = 5e-9 makes the
    # norm 1e-8, equal to epsilon, so that CKA(x, x) = 1e-8 / sqrt((2e-8)²) = 1/2.
    a = 5e-9**0.5
    x_NS = torch.tensor([[-a], [a]], dtype=torch.float64)
    assert linear_cka(x_NS, x_NS, form="sqrt").item() == pytest.approx(0.5)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("rows", "s", "t"), [(4, 3, 4), (9, 2, 3)])
def test_gradient(form: Form, rows: int, s: int, t: int) -> None:
    s_NS, t_NT = features(rows, s, seed=6).requires_grad_(), features(rows, t, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: cka_loss(a, b, form=form), (s_NS, t_NT))


def test_fp32_input_is_computed_in_fp64() -> None:
    s_NS, t_NT = features(5, 8, seed=0).float() + 1000, features(5, 9, seed=1).float()
    loss = cka_loss(s_NS, t_NT)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(
        1 - reference(s_NS.double().numpy(), t_NT.double().numpy(), "sqrt"), rel=1e-6
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_give_zero_and_a_zero_gradient(form: Form, rows: int) -> None:
    s_NS = features(rows, 4, seed=8).requires_grad_()
    loss = cka_loss(s_NS, features(rows, 6, seed=9), form=form)
    loss.backward()
    assert loss.item() == 0
    assert not s_NS.grad.any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [3, 30])
@pytest.mark.parametrize("dead", ["student", "teacher"])
def test_a_side_without_variance_costs_one_with_no_gradient(
    form: Form, rows: int, dead: str
) -> None:
    s_NS, t_NT = features(rows, 4, seed=8), features(rows, 6, seed=9)
    (s_NS if dead == "student" else t_NT)[:] = 0.1
    s_NS.requires_grad_()
    loss = cka_loss(s_NS, t_NT, form=form)
    loss.backward()
    assert loss.item() == 1
    assert not s_NS.grad.any()


@pytest.mark.parametrize("form", FORMS)
def test_nan_reaches_the_loss(form: Form) -> None:
    s_NS = features(5, 2, seed=0)
    s_NS[1, 1] = torch.nan
    assert cka_loss(s_NS, features(5, 3, seed=1), form=form).isnan()


def test_rows_must_match() -> None:
    with pytest.raises(ValueError, match=r"\(4, 3\) and teacher \(5, 3\)"):
        cka_loss(features(4, 3, seed=0), features(5, 3, seed=0))


def test_form_must_be_known() -> None:
    with pytest.raises(ValueError, match="'linear' is not one of"):
        linear_cka(torch.ones(2, 2), torch.ones(2, 2), form="linear")  # type: ignore[arg-type]
