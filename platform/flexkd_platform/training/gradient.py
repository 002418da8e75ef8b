"""The gradient of one optimiser step, from one forward or from several micro-batches.

A loss of the whole batch that is not a sum over micro-batches (a correlation, CKA) is computed in
two passes, as in GradCache for contrastive losses (Gao et al. 2021, arXiv:2101.06983). The first
pass runs every micro-batch without a graph, and computes the loss of all outputs and its gradient
with respect to them. The second pass runs each micro-batch again and backpropagates its part of
this gradient. The result is the gradient of the whole batch, with the memory of one micro-batch, at
the cost of one more forward.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from ..tasks import Batch
from .hidden_states import LOGITS, finite_rows, forward
from .micro_batch import MicroBatch, MicroBatchOutputs, Objective
from .teacher_signal import TeacherRows
from .worker import Worker

Check = Callable[[Tensor, MicroBatchOutputs], None]
"""Raises if a loss is not finite; called with the loss and the outputs it is computed from."""


@dataclass(frozen=True, eq=False)
class Gradient:
    """Adds the gradient of one batch to the student's gradients.

    wrapped: the student, a `HiddenStateModel`, as `worker.wrap` returned it.
    precision: of the forward's matrix products, `fp32` or `bf16`.
    """

    wrapped: nn.Module
    objective: Objective
    worker: Worker
    precision: str
    check: Check

    def __call__(
        self, shares: Sequence[MicroBatch], counts: Mapping[str, Sequence[int]]
    ) -> dict[str, Tensor]:
        """Compute the gradient of the whole batch; returns the terms of its loss.

        shares: this worker's micro-batches; every worker has the same number.
        """
        if len(shares) == 1:
            return self._direct(shares[0], counts)
        if self.objective.adds_up:
            return self._summed(shares, counts)
        return self._in_two_passes(shares, counts)

    def _direct(self, share: MicroBatch, counts: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
        part = self._forward(share, counts)
        terms = self.objective(replace(part, teacher=self.objective.ask(share)), self.worker)
        self.check(terms["loss"], part)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        return terms

    def _summed(
        self, shares: Sequence[MicroBatch], counts: Mapping[str, Sequence[int]]
    ) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for number, share in enumerate(shares, 1):
            with self.worker.accumulating(self.wrapped, last=number == len(shares)):
                for name, term in self._direct(share, counts).items():
                    total[name] = total.get(name, torch.zeros_like(term)) + term.detach()
        return total

    def _in_two_passes(
        self, shares: Sequence[MicroBatch], counts: Mapping[str, Sequence[int]]
    ) -> dict[str, Tensor]:
        states, parts = [], []
        for share in shares:
            states.append(_random_state(self.worker.device))
            with torch.no_grad():
                part = self._forward(share, counts)
                parts.append(replace(part, teacher=self.objective.ask(share)))
        after = _random_state(self.worker.device)
        whole = _joined(parts)
        terms = self.objective(whole, self.worker)
        self.check(terms["loss"], whole)
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        given = {name: _split(leaf.grad, name, parts) for name, leaf in whole.out.items()}
        for number, (share, state) in enumerate(zip(shares, states, strict=True)):
            _set_random_state(state, self.worker.device)  # the same dropout as in the first pass
            with self.worker.accumulating(self.wrapped, last=number == len(shares) - 1):
                out = self._forward(share, counts).out
                passed = [
                    # Outputs without a gradient take part with zeros: a data-parallel wrapper waits
                    # for the parameters behind every output.
                    (values * grads[number]).sum() if grads is not None else (values * 0.0).sum()
                    for values, grads in ((out[name], given[name]) for name in out)
                ]
                torch.stack(passed).sum().backward()  # type: ignore[no-untyped-call]
        _set_random_state(after, self.worker.device)
        return terms

    def _forward(self, share: MicroBatch, counts: Mapping[str, Sequence[int]]) -> MicroBatchOutputs:
        device = self.worker.device
        narrow = self.precision == "bf16"
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=narrow):
            out = forward(self.wrapped, share.batch, device)
        if narrow:
            out = {name: values.float() for name, values in out.items()}
        if not share.own:
            out = {name: values[:0] for name, values in out.items()}
        weight = share.label_weight
        return MicroBatchOutputs(
            share.rows, share.batch, share.own, out, counts, label_weight=weight
        )


def _joined(parts: Sequence[MicroBatchOutputs]) -> MicroBatchOutputs:
    """The concatenated parts, whose outputs are the leaves of the gradient."""
    first = parts[0]
    rows = [row for part in parts if part.own for row in part.rows]
    labels_N = torch.cat([part.labels_N for part in parts])
    out = {
        name: torch.cat([part.out[name] for part in parts]).requires_grad_() for name in first.out
    }
    batch = Batch({}, labels_N, None, {})
    signals = [part.teacher for part in parts if part.teacher is not None]
    return MicroBatchOutputs(
        rows,
        batch,
        True,
        out,
        first.counts,
        TeacherRows.joined(signals) if signals else None,
        label_weight=first.label_weight,
    )


def _split(
    gradient: Tensor | None, name: str, parts: Sequence[MicroBatchOutputs]
) -> Sequence[Tensor] | None:
    """Each part's rows of a gradient."""
    if gradient is None:
        return None
    bounds = [0, *accumulate(len(part.out[name]) for part in parts)]
    return [gradient[start:stop] for start, stop in pairwise(bounds)]


def _random_state(device: torch.device) -> tuple[Tensor, ...]:
    cpu = (torch.get_rng_state(),)
    return (*cpu, torch.cuda.get_rng_state(device)) if device.type == "cuda" else cpu


def _set_random_state(state: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)


def unfinished_rows(part: MicroBatchOutputs) -> list[int]:
    """The examples of a part with outputs that are not finite; empty if outputs are not logits."""
    logits_NC = part.out.get(LOGITS)
    if logits_NC is None or len(logits_NC) != len(part.rows):
        return []
    fine = finite_rows(logits_NC)
    return [row for row, good in zip(part.rows, fine, strict=True) if not good]
