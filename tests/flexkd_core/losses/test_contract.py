"""What every loss of the tables promises, whichever it is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flexkd_core.losses import CLASS_LOSSES, FEATURE_LOSSES, LOGIT_LOSSES

LOSSES = {**FEATURE_LOSSES, **LOGIT_LOSSES}


def test_tables_hold_what_the_documentation_names() -> None:
    assert list(FEATURE_LOSSES) == [
        "correlation",
        "cka",
        "mse",
        "cosine",
        "procrustes",
        "gram",
    ]
    assert list(LOGIT_LOSSES) == [
        "forward_kl",
        "reverse_kl",
        "jsd",
        "skew_forward_kl",
        "skew_reverse_kl",
        "tvd",
        "logit_mse",
        "uld",
        "squared_error",
    ]
    assert list(CLASS_LOSSES) == list(LOGIT_LOSSES)[:-1]
    assert len(LOSSES) == 15


def rows(
    count: int, name: str, seed: int, dtype: torch.dtype = torch.float64, units: int = 3
) -> torch.Tensor:
    units = 1 if name == "squared_error" else units
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, units, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scalar_on_the_graph_in_the_promised_dtype(
    name: str, count: int, dtype: torch.dtype
) -> None:
    student = rows(count, name, 0, dtype).requires_grad_()
    loss = LOSSES[name](student, rows(count, name, 1, dtype))
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert loss.isfinite()
    assert loss >= 0
    assert student.grad is not None
    assert student.grad.isfinite().all()
    if count == 0:
        assert loss.item() == 0


@pytest.mark.parametrize("name", LOSSES)
def test_different_rows_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(3, \d\) and teacher \(4, \d\)"):
        LOSSES[name](rows(3, name, 0, torch.float32), rows(4, name, 1, torch.float32))


@pytest.mark.parametrize("name", LOSSES)
def test_equal_sides_cost_nothing_and_have_no_gradient(name: str) -> None:
    student = rows(6, name, 0).requires_grad_()
    loss = LOSSES[name](student, student.detach().clone())
    loss.backward()
    # CKA of the sqrt form is 1 − O(ε = 1e-8).
    assert loss.item() == pytest.approx(0, abs=1e-8 if name == "cka" else 1e-14)
    torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    student, teacher = rows(7, name, 0), rows(7, name, 1)
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    torch.testing.assert_close(
        LOSSES[name](student[order], teacher[order]), LOSSES[name](student, teacher)
    )
    if name in LOGIT_LOSSES:
        loss = LOGIT_LOSSES[name]
        torch.testing.assert_close(
            loss(student[order], teacher[order], reduction="none"),
            loss(student, teacher, reduction="none")[order],
        )


@pytest.mark.parametrize("name", LOSSES)
def test_nan_on_either_side_reaches_the_loss(name: str) -> None:
    good, bad = rows(5, name, 0), rows(5, name, 1)
    bad[2, 0] = torch.nan
    assert LOSSES[name](good, bad).isnan()
    assert LOSSES[name](bad, good).isnan()


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_gradient_in_both_arguments(name: str) -> None:
    inputs = (rows(3, name, 0).requires_grad_(), rows(3, name, 1).requires_grad_())
    for reduction in ("mean", "sum", "none"):
        assert torch.autograd.gradcheck(
            lambda s, t, how=reduction: LOGIT_LOSSES[name](s, t, reduction=how), inputs
        )


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_unknown_reduction_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="'batchmean' is not one of 'mean', 'sum', 'none'"):
        LOGIT_LOSSES[name](rows(2, name, 0), rows(2, name, 1), reduction="batchmean")  # type: ignore[arg-type]


@settings(max_examples=40)
@given(
    name=st.sampled_from(sorted(LOGIT_LOSSES)),
    count=st.integers(0, 6),
    padding=st.integers(0, 3),
    classes=st.integers(2, 9),
    seed=st.integers(0, 99),
)
def test_reductions_agree_and_rows_are_apart(
    name: str, count: int, padding: int, classes: int, seed: int
) -> None:
    student, teacher = (rows(count + padding, name, seed + i, units=classes) for i in (0, 1000))
    loss = LOGIT_LOSSES[name]
    loss_N = loss(student[:count], teacher[:count], reduction="none")
    assert loss_N.shape == (count,)
    assert (loss_N >= 0).all()
    torch.testing.assert_close(
        loss(student[:count], teacher[:count], reduction="sum"), loss_N.sum()
    )
    torch.testing.assert_close(loss(student[:count], teacher[:count]), loss_N.sum() / max(count, 1))
    # What other rows a batch holds changes no row's value: padding can be cut before or after.
    torch.testing.assert_close(loss(student, teacher, reduction="none")[:count], loss_N)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_classes_that_both_exclude_change_nothing(name: str) -> None:
    student, teacher = rows(4, name, 0).requires_grad_(), rows(4, name, 1)
    excluded = torch.full((4, 2), -torch.inf, dtype=torch.float64)
    wide = torch.cat([student.detach(), excluded], dim=1).requires_grad_()
    loss = CLASS_LOSSES[name](student, teacher, temperature=2.0)
    wide_loss = CLASS_LOSSES[name](wide, torch.cat([teacher, excluded], dim=1), temperature=2.0)
    torch.testing.assert_close(wide_loss, loss)
    loss.backward()
    wide_loss.backward()
    torch.testing.assert_close(wide.grad[:, :3], student.grad)
    assert not wide.grad[:, 3:].any()


@pytest.mark.parametrize("name", ["jsd", "skew_forward_kl", "skew_reverse_kl", "tvd", "uld"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_bounded_losses_stay_finite_where_one_side_excludes_a_class(name: str, side: str) -> None:
    student, teacher = rows(4, name, 0), rows(4, name, 1)
    (student if side == "student" else teacher)[:, 1] = -torch.inf
    student.requires_grad_()
    loss = CLASS_LOSSES[name](student, teacher)
    loss.backward()
    assert 0 < loss.item() < 2.4  # −ln 0.1 = 2.303 bounds the skew losses
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    ("name", "side"),
    [("forward_kl", "student"), ("reverse_kl", "teacher"), ("logit_mse", "teacher")],
)
def test_unbounded_losses_are_infinite_where_one_side_excludes_a_class(
    name: str, side: str
) -> None:
    student, teacher = rows(4, name, 0), rows(4, name, 1)
    (student if side == "student" else teacher)[:, 1] = -torch.inf
    assert CLASS_LOSSES[name](student, teacher).item() == torch.inf


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_large_fp32_logits_are_safe_and_agree_with_fp64(name: str) -> None:
    student, teacher = 3e4 * rows(5, name, 0, units=6), 3e4 * rows(5, name, 1, units=6)
    narrow = student.float().requires_grad_()
    loss = CLASS_LOSSES[name](narrow, teacher.float())
    loss.backward()
    expected = CLASS_LOSSES[name](student.float().double(), teacher.float().double()).item()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert narrow.grad.isfinite().all()


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_shift_of_a_row_is_ignored_by_all_but_logit_mse(name: str) -> None:
    student, teacher = rows(4, name, 0), rows(4, name, 1)
    shifted = CLASS_LOSSES[name](student + 5, teacher)
    if name == "logit_mse":
        assert shifted > CLASS_LOSSES[name](student, teacher) + 1
    else:
        torch.testing.assert_close(shifted, CLASS_LOSSES[name](student, teacher))


@pytest.mark.parametrize("name", CLASS_LOSSES)
@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperature_must_be_positive(name: str, temperature: float) -> None:
    with pytest.raises(ValueError, match="must be a positive"):
        CLASS_LOSSES[name](rows(2, name, 0), rows(2, name, 1), temperature=temperature)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_high_temperature_limit_is_a_distance_of_centred_logits(name: str) -> None:
    # p = 1/V + gap/(V τ) to first order: every divergence becomes its curvature times ‖gap‖² / 2V
    # (Hinton et al. 2015, Eq. 4, for the forward KL), the total variation Σ|gap| / 2V, and
    # the distance of sorted probabilities Σ|gap of the sorted logits| / V.
    curvature = {
        "forward_kl": 1,
        "reverse_kl": 1,
        "jsd": 0.5 * 0.5,
        "skew_forward_kl": 0.9**2,
        "skew_reverse_kl": 0.9**2,
    }
    student, teacher = rows(6, name, 0, units=5), rows(6, name, 1, units=5)
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    if name == "tvd":
        expected = gap.abs().sum(1).mean() / 10
    elif name == "uld":
        gap = student.sort(1).values - teacher.sort(1).values
        gap = gap - gap.mean(1, keepdim=True)
        expected = gap.abs().sum(1).mean() / 5
    elif name == "logit_mse":
        expected = (student - teacher).square().mean()  # at any temperature
    else:
        expected = curvature[name] * gap.square().sum(1).mean() / 10
    found = CLASS_LOSSES[name](student, teacher, temperature=1e4)
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
