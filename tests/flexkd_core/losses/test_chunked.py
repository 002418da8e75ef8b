"""The chunked head: the dense losses in value and gradient, at lengths chunks do not divide."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flexkd_core.losses import (
    CLASS_LOSSES,
    ChunkedLoss,
    LogitMap,
    RowTerm,
    chunked_rows_loss,
    forward_kl,
    reverse_kl,
    same_vocabulary,
    token_cross_entropy,
    top_k_logits,
)

UNITS, VOCABULARY = 4, 7
TERMS = {
    "kl": RowTerm(0.7, partial(reverse_kl, temperature=2.0), "teacher"),
    "ce": RowTerm(0.3, token_cross_entropy, "labels"),
}


class Case:
    """A head over random hidden states, with a teacher and labels; every third label is ignored."""

    def __init__(self, rows: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)

        self.hidden_NS = normal(rows, UNITS).requires_grad_()
        self.weight_VS = normal(VOCABULARY, UNITS).requires_grad_()
        self.bias_V = normal(VOCABULARY).requires_grad_()
        self.teacher_NV = normal(rows, VOCABULARY)
        self.labels_N = torch.arange(rows) % VOCABULARY
        self.labels_N[::3] = -100

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.hidden_NS, self.weight_VS, self.bias_V

    def chunked(
        self, chunk: int, terms: dict[str, RowTerm] = TERMS, **settings: Any
    ) -> ChunkedLoss:
        arguments: dict[str, Any] = {
            "student_bias_V": self.bias_V,
            "teacher_NV": lambda start, stop: self.teacher_NV[start:stop],
            "labels_N": self.labels_N,
        }
        arguments |= settings
        return chunked_rows_loss(self.hidden_NS, self.weight_VS, terms, chunk=chunk, **arguments)

    def dense(
        self,
        terms: dict[str, RowTerm] = TERMS,
        denominator: float | None = None,
        logit_map: LogitMap | None = None,
    ) -> Tensor:
        logits_NV = self.hidden_NS @ self.weight_VS.T + self.bias_V
        if logit_map is not None:
            logits_NV = logit_map(logits_NV)
        targets = {"teacher": self.teacher_NV, "labels": self.labels_N}
        sums = [
            term.weight * term.loss(logits_NV, targets[term.target], reduction="none").sum()
            for term in terms.values()
        ]
        return torch.stack(sums).sum() / (denominator or max(len(logits_NV), 1))


def assert_same(case: Case, chunk: int, terms: dict[str, RowTerm] = TERMS) -> None:
    found, expected = case.chunked(chunk, terms).total, case.dense(terms)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        torch.autograd.grad(3 * found, case.leaves),
        torch.autograd.grad(3 * expected, case.leaves),
        rtol=1e-11,
        atol=1e-13,
    )


@settings(max_examples=50)
@given(st.integers(0, 13), st.integers(1, 15), st.integers(0, 99))
def test_chunked_is_dense_in_value_and_gradient(rows: int, chunk: int, seed: int) -> None:
    assert_same(Case(rows, seed=seed), chunk)


@pytest.mark.parametrize("name", CLASS_LOSSES)
def test_every_loss_between_classes_can_be_chunked(name: str) -> None:
    assert_same(Case(11), 4, {name: RowTerm(2.0, CLASS_LOSSES[name], "teacher")})


def test_losses_may_cut_or_keep_part_of_the_vocabulary() -> None:
    def top_two(student_CV: Tensor, teacher_CV: Tensor, *, reduction: Any) -> Tensor:
        return forward_kl(*top_k_logits(teacher_CV, student_CV, 2), reduction=reduction)

    def padded(student_CV: Tensor, teacher_CV: Tensor, *, reduction: Any) -> Tensor:
        return forward_kl(*same_vocabulary(student_CV, teacher_CV), reduction=reduction)

    assert_same(Case(11), 4, {"top": RowTerm(1.0, top_two, "teacher")})
    case = Case(11)
    case.teacher_NV = case.teacher_NV[:, :5]
    assert_same(case, 4, {"padded": RowTerm(1.0, padded, "teacher")})


@pytest.mark.parametrize(
    "logit_map", [LogitMap(scale=0.25), LogitMap(cap=2.0), LogitMap(scale=3.0, cap=1.5)]
)
def test_scaled_and_capped_logits_are_dense_in_value_and_gradient(logit_map: LogitMap) -> None:
    case = Case(11)
    found, expected = case.chunked(4, student_map=logit_map).total, case.dense(logit_map=logit_map)
    assert abs(expected - case.dense()) > 0.01
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        torch.autograd.grad(found, case.leaves),
        torch.autograd.grad(expected, case.leaves),
        rtol=1e-11,
        atol=1e-13,
    )


@pytest.mark.parametrize("chunk", [3, 100])
def test_gradcheck(chunk: int) -> None:
    case = Case(5)

    def total(hidden_NS: Tensor, weight_VS: Tensor, bias_V: Tensor) -> Tensor:
        return chunked_rows_loss(
            hidden_NS,
            weight_VS,
            TERMS,
            student_bias_V=bias_V,
            teacher_NV=lambda start, stop: case.teacher_NV[start:stop],
            labels_N=case.labels_N,
            chunk=chunk,
        ).total

    assert torch.autograd.gradcheck(total, case.leaves)


def test_terms_are_unweighted_detached_and_add_up() -> None:
    found = Case(11).chunked(4)
    assert list(found.terms) == ["kl", "ce"]
    assert not any(term.requires_grad for term in found.terms.values())
    torch.testing.assert_close(
        found.total.detach(), 0.7 * found.terms["kl"] + 0.3 * found.terms["ce"]
    )
    case = Case(11)
    logits_NV = case.hidden_NS @ case.weight_VS.T + case.bias_V
    expected = token_cross_entropy(logits_NV, case.labels_N, reduction="sum") / 11
    torch.testing.assert_close(found.terms["ce"], expected.detach())


def test_a_denominator_for_all_parts_makes_them_add_up_to_the_whole() -> None:
    # As over two workers, or two accumulated batches, of different lengths.
    whole = Case(11)
    expected_grad = torch.autograd.grad(whole.chunked(4).total, whole.weight_VS)[0]
    total, grad = torch.zeros((), dtype=torch.float64), torch.zeros_like(expected_grad)
    for rows in (slice(0, 3), slice(3, 11)):
        part = chunked_rows_loss(
            whole.hidden_NS[rows],
            whole.weight_VS,
            TERMS,
            student_bias_V=whole.bias_V,
            teacher_NV=lambda start, stop, rows=rows: whole.teacher_NV[rows][start:stop],
            labels_N=whole.labels_N[rows],
            chunk=4,
            denominator=11,
        )
        total += part.total.detach()
        grad += torch.autograd.grad(part.total, whole.weight_VS)[0]
    torch.testing.assert_close(total, whole.chunked(4).total.detach())
    torch.testing.assert_close(grad, expected_grad)


def test_gradients_flow_on_into_what_made_the_hidden_states() -> None:
    case = Case(11)
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    original_NS, grads = case.hidden_NS.detach(), []
    for loss in (lambda: case.chunked(4).total, case.dense):
        case.hidden_NS = original_NS * scale
        grads.append(torch.autograd.grad(loss(), scale)[0])
    torch.testing.assert_close(grads[0], grads[1])
    assert grads[0] != 0


def test_no_array_of_all_rows_by_the_vocabulary_is_ever_made() -> None:
    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = func(*args, **(kwargs or {}))
            sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            self.elements = max(self.elements, *sizes, 0)
            return result

    rows, chunk, vocabulary = 60, 5, 30
    hidden_NS = torch.randn(rows, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight_VS = torch.randn(vocabulary, 2, generator=torch.Generator().manual_seed(1))
    weight_VS.requires_grad_()
    spans = []

    def teacher_NV(start: int, stop: int) -> Tensor:
        assert not torch.is_grad_enabled()
        spans.append((start, stop))
        return torch.zeros(stop - start, vocabulary)

    with Largest() as largest:
        chunked_rows_loss(
            hidden_NS,
            weight_VS,
            TERMS,
            teacher_NV=teacher_NV,
            labels_N=torch.zeros(rows, dtype=torch.int64),
            chunk=chunk,
        ).total.backward()
    assert largest.elements == chunk * vocabulary  # hidden states have 120, the dense logits 1,800
    assert spans == [(start, start + 5) for start in range(0, 60, 5)]  # once for both terms


def test_without_a_graph_the_value_is_the_same_and_losses_see_no_graph() -> None:
    case, modes = Case(11), []

    def spy(student_CV: Tensor, teacher_CV: Tensor, *, reduction: Any) -> Tensor:
        modes.append(student_CV.requires_grad)
        return reverse_kl(student_CV, teacher_CV, reduction=reduction)

    terms = {"kl": RowTerm(1.0, spy, "teacher")}
    with torch.no_grad():
        found = case.chunked(4, terms)
    assert modes == [False] * 3
    assert not found.total.requires_grad
    torch.testing.assert_close(found.total, case.dense(terms).detach())


@pytest.mark.parametrize("frozen", ["hidden_NS", "weight_VS", "bias_V"])
def test_frozen_inputs_get_no_gradient_and_the_others_theirs(frozen: str) -> None:
    case = Case(11)
    getattr(case, frozen).requires_grad_(False)
    learned = [leaf for leaf in case.leaves if leaf.requires_grad]
    torch.testing.assert_close(
        torch.autograd.grad(case.chunked(4).total, learned),
        torch.autograd.grad(case.dense(), learned),
    )
    case.chunked(4).total.backward()
    assert getattr(case, frozen).grad is None


def test_no_rows_give_zero_and_gradients_of_zero() -> None:
    case = Case(0)
    found = case.chunked(4)
    found.total.backward()
    assert found.total.item() == 0
    assert [term.item() for term in found.terms.values()] == [0, 0]
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in case.leaves)


def test_bias_and_the_other_target_may_be_missing() -> None:
    case = Case(5)
    case.bias_V = torch.zeros(VOCABULARY, dtype=torch.float64)
    terms = {"ce": TERMS["ce"]}
    found = case.chunked(2, terms, student_bias_V=None, teacher_NV=None).total
    torch.testing.assert_close(found, case.dense(terms))
    torch.testing.assert_close(
        torch.autograd.grad(found, case.weight_VS),
        torch.autograd.grad(case.dense(terms), case.weight_VS),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_narrow_inputs_are_upcast_in_the_chunk_and_get_gradients_of_their_dtype(
    dtype: torch.dtype,
) -> None:
    case, wide = Case(23, dtype=dtype), Case(23)
    with torch.no_grad():
        for leaf, narrow in zip(wide.leaves, case.leaves, strict=True):
            leaf.copy_(narrow)
    wide.teacher_NV = case.teacher_NV.double()
    found = case.chunked(4)
    assert found.total.dtype == torch.float32
    # bf16 keeps 8 bits: the head's product is rounded to 2⁻⁸ of logits up to 5, in sums of 23.
    tolerance = (
        {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 1e-2}
    )
    expected = wide.dense()
    torch.testing.assert_close(found.total.double(), expected, **tolerance)
    for grad, wide_grad in zip(
        torch.autograd.grad(found.total, case.leaves),
        torch.autograd.grad(expected, wide.leaves),
        strict=True,
    ):
        assert grad.dtype == dtype
        torch.testing.assert_close(grad.double(), wide_grad, **tolerance)


def test_losses_see_logits_in_fp32() -> None:
    seen = set()

    def spy(student_CV: Tensor, labels_C: Tensor, *, reduction: Any) -> Tensor:
        seen.add(student_CV.dtype)
        return student_CV.square().sum(dim=1)

    Case(5, dtype=torch.bfloat16).chunked(2, {"x": RowTerm(1.0, spy, "labels")})
    assert seen == {torch.float32}


def test_autocast_applies_as_to_a_linear_layer() -> None:
    case = Case(11, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = case.chunked(4).total
        logits_NV = torch.nn.functional.linear(*case.leaves)
    assert logits_NV.dtype == torch.bfloat16
    kl_N = TERMS["kl"].loss(logits_NV.float(), case.teacher_NV, reduction="none")
    ce_N = TERMS["ce"].loss(logits_NV.float(), case.labels_N, reduction="none")
    expected = (0.7 * kl_N + 0.3 * ce_N).sum() / 11
    torch.testing.assert_close(found, expected)
    grads = torch.autograd.grad(found, case.leaves)
    assert {grad.dtype for grad in grads} == {torch.float32}
    torch.testing.assert_close(
        grads, torch.autograd.grad(expected, case.leaves), rtol=2e-2, atol=1e-2
    )


def test_shares_of_many_chunks_are_not_rounded_away_in_bf16() -> None:
    # Every row's gradient is the same: their mean is any one's. Added up in bf16 one by one, 600
    # shares of 1/600 would stop growing at 2⁸ of them.
    hidden_NS = torch.ones(600, 2, dtype=torch.bfloat16)
    weight_VS = torch.zeros(3, 2, dtype=torch.bfloat16, requires_grad=True)
    found = chunked_rows_loss(
        hidden_NS,
        weight_VS,
        {"ce": RowTerm(1.0, token_cross_entropy, "labels")},
        labels_N=torch.zeros(600, dtype=torch.int64),
        chunk=1,
    )
    (grad_VS,) = torch.autograd.grad(found.total, weight_VS)
    expected_V1 = torch.tensor([[1 / 3 - 1], [1 / 3], [1 / 3]])
    torch.testing.assert_close(grad_VS.float(), expected_V1.expand(3, 2), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"terms": {}}, "name at least one loss"),
        ({"terms": {"x": RowTerm(1.0, reverse_kl, "both")}}, "'both' of term 'x' is not one of"),  # type: ignore[arg-type]
        ({"teacher_NV": None}, "'kl' needs the teacher: pass teacher_NV"),
        ({"labels_N": None}, "'ce' needs the labels: pass labels_N"),
        ({"labels_N": torch.zeros(4, dtype=torch.int64)}, r"\(4,\) must be one for each of the 5"),
        ({"student_bias_V": torch.zeros(3)}, r"\(3,\) must have one value for each of the 7"),
        ({"chunk": 0}, "chunk 0 must be at least one"),
        ({"denominator": 0}, "denominator 0 must be positive"),
        ({"denominator": float("nan")}, "denominator nan must be positive"),
        (
            {"teacher_NV": lambda start, stop: torch.zeros(stop - start + 1, 7)},
            r"teacher_NV\(0, 2\) gave \(3, 7\).*2 rows",
        ),
        (
            {"terms": {"x": RowTerm(1.0, lambda s, t, reduction: s.sum(), "labels")}},
            r"'x' gave \(\) for 2 rows",
        ),
    ],
)
def test_errors_say_what_to_do(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Case(5).chunked(**({"chunk": 2} | changes))


def test_head_and_hidden_states_must_fit() -> None:
    with pytest.raises(ValueError, match=r"\(5, 3\) and head weight \(7, 4\)"):
        chunked_rows_loss(torch.zeros(5, 3), torch.zeros(7, 4), TERMS)


@pytest.mark.parametrize("chunk", [2, 4, 50])
def test_a_term_over_some_rows_is_that_of_these_rows_alone(chunk: int) -> None:
    case, rows_N = Case(11), torch.arange(11) % 3 != 1
    kl, count = partial(forward_kl, temperature=2.0), int(rows_N.sum())
    some = {"kl": RowTerm(0.7, kl, "teacher", rows_N, count), "ce": TERMS["ce"]}
    found = case.chunked(chunk, some)
    few = Case(11)
    few.hidden_NS = few.hidden_NS.detach()[rows_N].requires_grad_()
    few.teacher_NV, few.labels_N = few.teacher_NV[rows_N], few.labels_N[rows_N]
    alone = few.chunked(chunk, {"kl": RowTerm(0.7, kl, "teacher")})
    torch.testing.assert_close(found.terms["kl"], alone.terms["kl"])
    torch.testing.assert_close(found.terms["ce"], case.chunked(chunk).terms["ce"])
    masked = case.chunked(chunk, {"kl": some["kl"]}).total
    gradient_NS, *_ = torch.autograd.grad(masked, case.leaves)
    expected_NS, *_ = torch.autograd.grad(alone.total, few.leaves)
    torch.testing.assert_close(gradient_NS[rows_N], expected_NS)
    assert not gradient_NS[~rows_N].any()
