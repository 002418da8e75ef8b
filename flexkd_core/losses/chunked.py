"""Logit losses from hidden states, without holding the logits of all rows at once.

The logits of N = 2,048 tokens over 50,257 entries are 412 MB in fp32, and a loss holds several
arrays of that size. Here they are computed for a few rows at a time, and their gradient is computed
immediately, inside the forward: one head product fewer than recomputing them in the backward.

Shapes: N valid rows (tokens), C rows of one chunk, S student units, V vocabulary entries, K terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from flexkd_core.losses.logit_map import LogitMap

TeacherLogits = Callable[[int, int], Tensor]
"""Returns the teacher's logits (stop − start, V) of rows start to stop."""


class RowLoss(Protocol):
    """A loss with one value per row: any logit loss, or `token_cross_entropy`."""

    def __call__(
        self, student_CV: Tensor, target_C: Tensor, /, *, reduction: Literal["none"]
    ) -> Tensor:
        """Values (C,) on the logits' graph; the target is teacher logits (C, V) or labels (C,)."""
        ...


@dataclass(frozen=True)
class RowTerm:
    """One term of the total: weight · loss against the teacher's logits or the labels."""

    weight: float
    loss: RowLoss
    """Other settings bound beforehand: `partial(reverse_kl, temperature=2.0)`."""
    target: Literal["teacher", "labels"]
    rows_N: Tensor | None = None
    """Bool, the rows that count; all when None. The losses of the others must be finite."""
    denominator: float | None = None
    """Replaces that of the call, as for a mean over the rows that count."""


@dataclass(frozen=True, eq=False)
class ChunkedLoss:
    """What `chunked_rows_loss` returns."""

    total: Tensor
    """Σ weight · term, a differentiable scalar."""
    terms: dict[str, Tensor]
    """Each term by name without its weight, summed and divided by the denominator, detached."""


def chunked_rows_loss(
    student_hidden_NS: Tensor,
    student_weight_VS: Tensor,
    terms: Mapping[str, RowTerm],
    *,
    student_bias_V: Tensor | None = None,
    student_map: LogitMap | None = None,
    teacher_NV: TeacherLogits | None = None,
    labels_N: Tensor | None = None,
    chunk: int = 256,
    denominator: float | None = None,
) -> ChunkedLoss:
    """Σ_k w_k Σ_n loss_k(m(h_n Wᵀ + b), target_n) / denominator, a chunk of rows at a time.

    All terms share a chunk's logits, student's and teacher's. Chunks only reduce memory: value and
    gradient are those of the dense loss, except for the order of summation.

    Args:
        student_hidden_NS: the head's inputs, any float dtype, without padding.
        student_weight_VS: the head's matrix, of the same dtype (autocast applies as to a linear
            layer); the gradient of a frozen one is not computed.
        terms: by name. `{"kl": RowTerm(1.0, reverse_kl, "teacher"), "ce": RowTerm(0.5,
            token_cross_entropy, "labels")}`.
        student_bias_V: the head's bias.
        student_map: m, of the head's product to the model's logits; None for the product itself.
        teacher_NV: called with (start, stop) once for each chunk, in order, without a graph.
        labels_N: for terms against labels.
        chunk: rows at a time, C. Peak memory beyond the inputs and their gradients is a few times
            C · V.
        denominator: default N. For a mean over labelled tokens, or over the tokens of several
            workers or accumulated batches, their number.

    Returns:
        The total and its terms, fp32 (or fp64) scalars, in the losses' unit; 0 with a gradient of
        0 without rows. Logits and gradients are upcast inside the chunk and summed in fp32 or
        wider. Not differentiable twice; under `torch.no_grad` no gradient is computed. A gradient
        scaler's factor applies after the rounding to the inputs' dtype: use bf16 rather than fp16.

    Raises:
        ValueError: shapes do not fit, no term, a term without its target, chunk < 1, a denominator
            that is not positive, or a loss that does not return one value per row.
    """
    _require_fit(student_hidden_NS, student_weight_VS, student_bias_V, labels_N)
    if not terms:
        raise ValueError("no terms: name at least one loss to compute")
    given = {"teacher": teacher_NV is not None, "labels": labels_N is not None}
    for name, term in terms.items():
        if term.target not in given:
            raise ValueError(f"target {term.target!r} of term {name!r} is not one of {[*given]}")
        if not given[term.target]:
            argument = "teacher_NV" if term.target == "teacher" else "labels_N"
            raise ValueError(f"term {name!r} needs the {term.target}: pass {argument}")
    if chunk < 1:
        raise ValueError(f"chunk {chunk} must be at least one row")
    if denominator is None:
        denominator = max(len(student_hidden_NS), 1)
    if not denominator > 0:
        raise ValueError(f"denominator {denominator} must be positive: count at least one row")
    request = _Request(
        tuple(terms.items()),
        student_map or LogitMap(),
        teacher_NV,
        labels_N,
        chunk,
        float(denominator),
    )
    # Inside the function gradients are off, so the outer mode must be read here.
    graph = torch.is_grad_enabled()
    total, *values = _Chunked.apply(  # type: ignore[no-untyped-call]
        request, graph, student_hidden_NS, student_weight_VS, student_bias_V
    )
    return ChunkedLoss(total, dict(zip(terms, values, strict=True)))


@dataclass(frozen=True, eq=False)
class _Request:
    """The arguments that are not differentiated."""

    terms: tuple[tuple[str, RowTerm], ...]
    student_map: LogitMap
    teacher_NV: TeacherLogits | None
    labels_N: Tensor | None
    chunk: int
    denominator: float

    def sums(self, product_CV: Tensor, start: int) -> list[Tensor]:
        """Each term's sum over the chunk's rows, on the graph of the product, in terms' order."""
        student_CV = self.student_map(product_CV)
        stop = start + len(student_CV)
        targets: dict[str, Tensor] = {}
        kinds = {term.target for _, term in self.terms}
        if "teacher" in kinds:
            assert self.teacher_NV is not None
            with torch.no_grad():
                teacher_CV = self.teacher_NV(start, stop)
            if teacher_CV.ndim != 2 or len(teacher_CV) != len(student_CV):
                raise ValueError(
                    f"teacher_NV({start}, {stop}) gave {tuple(teacher_CV.shape)}: it must give "
                    f"the logits of {len(student_CV)} rows"
                )
            targets["teacher"] = teacher_CV
        if "labels" in kinds:
            assert self.labels_N is not None
            targets["labels"] = self.labels_N[start:stop]
        sums = []
        for name, term in self.terms:
            loss_C = term.loss(student_CV, targets[term.target], reduction="none")
            if loss_C.shape != student_CV.shape[:1]:
                raise ValueError(
                    f"term {name!r} gave {tuple(loss_C.shape)} for {len(student_CV)} rows: its "
                    'loss must return one value per row for reduction "none"'
                )
            if term.rows_N is not None:
                loss_C = torch.where(term.rows_N[start:stop].to(loss_C.device), loss_C, 0.0)
            sums.append(loss_C.sum() / (term.denominator or self.denominator))
        return sums


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        request: _Request,
        graph: bool,
        hidden_NS: Tensor,
        weight_VS: Tensor,
        bias_V: Tensor | None,
    ) -> tuple[Tensor, ...]:
        wide = torch.promote_types(hidden_NS.dtype, torch.float32)
        values = [hidden_NS.new_zeros((), dtype=wide) for _ in request.terms]
        needed = [
            source is not None and graph and source.requires_grad
            for source in (hidden_NS, weight_VS, bias_V)
        ]
        hidden_grad_NS = torch.zeros_like(hidden_NS) if needed[0] else None
        # Sums over chunks are kept wide: in bf16 a chunk's small share would be rounded away.
        weight_grad_VS = torch.zeros_like(weight_VS, dtype=wide) if needed[1] else None
        bias_grad_V = (
            torch.zeros_like(bias_V, dtype=wide) if needed[2] and bias_V is not None else None
        )
        for start in range(0, len(hidden_NS), request.chunk):
            hidden_CS = hidden_NS[start : start + request.chunk]
            product_CV = nn.functional.linear(hidden_CS, weight_VS, bias_V)
            narrow = product_CV.dtype
            product_CV = product_CV.to(wide)
            with torch.set_grad_enabled(any(needed)):
                product_CV = product_CV.requires_grad_(any(needed))
                sums = request.sums(product_CV, start)
                weighted = torch.stack(
                    [
                        term.weight * value
                        for (_, term), value in zip(request.terms, sums, strict=True)
                    ]
                ).sum()
            for value, part in zip(values, sums, strict=True):
                value += part.detach()
            if not any(needed):
                continue
            (grad_CV,) = torch.autograd.grad(weighted, product_CV)
            del product_CV, sums, weighted  # free the chunk's graph before the products below
            if bias_grad_V is not None:
                bias_grad_V += grad_CV.sum(dim=0)
            grad_CV = grad_CV.to(narrow)
            if hidden_grad_NS is not None:
                hidden_grad_NS[start : start + request.chunk] = grad_CV @ weight_VS
            if weight_grad_VS is not None:
                weight_grad_VS += grad_CV.T @ hidden_CS
        total = torch.stack(
            [term.weight * value for (_, term), value in zip(request.terms, values, strict=True)]
        ).sum()
        ctx.save_for_backward(
            hidden_grad_NS,
            None if weight_grad_VS is None else weight_grad_VS.to(weight_VS.dtype),
            None if bias_grad_V is None or bias_V is None else bias_grad_V.to(bias_V.dtype),
        )
        ctx.mark_non_differentiable(*values)
        return total, *values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (
            None if saved is None else saved * grads[0].to(saved.dtype)
            for saved in ctx.saved_tensors
        )
        return None, None, *scaled


def _require_fit(
    hidden_NS: Tensor, weight_VS: Tensor, bias_V: Tensor | None, labels_N: Tensor | None
) -> None:
    if hidden_NS.ndim != 2 or weight_VS.ndim != 2 or hidden_NS.shape[1] != weight_VS.shape[1]:
        raise ValueError(
            f"hidden states {tuple(hidden_NS.shape)} and head weight {tuple(weight_VS.shape)} "
            "must be (rows, units) and (vocabulary, units)"
        )
    if bias_V is not None and bias_V.shape != weight_VS.shape[:1]:
        raise ValueError(
            f"head bias {tuple(bias_V.shape)} must have one value for each of the "
            f"{len(weight_VS)} vocabulary entries"
        )
    if labels_N is not None and labels_N.shape != hidden_NS.shape[:1]:
        raise ValueError(
            f"labels {tuple(labels_N.shape)} must be one for each of the {len(hidden_NS)} rows"
        )
