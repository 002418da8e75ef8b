"""The training loop that teachers and students share.

Shapes: N rows whose outputs are compared, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from ..tasks import Batch, Examples
from ..tracking import StepMetrics
from .objective import Part
from .tapped import LOGITS, run
from .worker import Worker

POOL_BATCHES = 16
"""Batches among which rows are sorted by length."""


@dataclass(frozen=True)
class Recipe:
    """AdamW, linear warm-up and decay.

    `epochs` may be a fraction; `batch_size` counts the examples of an optimiser step over all
    workers; `seed` decides the order of the examples.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    max_grad_norm: float
    seed: int
    precision: str = "fp32"

    def total_steps(self, examples: int) -> int:
        """Optimiser steps of the whole training, at least one."""
        per_epoch = math.ceil(examples / self.batch_size)
        # The decimal as it is written: in floats 1.1 epochs of 10 steps are more than 11 steps.
        return max(1, math.ceil(Fraction(str(self.epochs)) * per_epoch))

    def rate(self, step: int, total: int) -> float:
        """Learning rate of step `step` (from 0): up to the peak, then down to 0."""
        warmup = round(self.warmup_share * total)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (total - step) / max(1, total - warmup)


class Objective(Protocol):
    """The loss of a global batch, with its terms."""

    def __call__(self, part: Part, worker: Worker) -> dict[str, Tensor]:
        """Terms by name, all scalars; `loss` is the one that is minimised."""
        ...


class Drawing(Protocol):
    """Makes the batches of some steps in place of the data's own: responses drawn on the way."""

    def __call__(self, step: int, rows: Sequence[int]) -> Batch | None:
        """This worker's batch; None for a step on the data's own responses."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far a long step is: `done` of `total` units of work, and what was measured there."""

    done: int
    total: int
    examples: int = 0
    metrics: StepMetrics | None = None


def batches(lengths: Sequence[int], recipe: Recipe) -> Iterator[list[int]]:
    """The rows of each global batch, shuffled anew in every epoch, without end.

    Rows are shuffled, sorted by length within pools of a few batches, and the batches shuffled
    again: a batch is padded to its longest row, and with rows of like length half of the work on
    padding goes away. Which rows meet in a batch is still decided by the seed.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    size, pool = recipe.batch_size, recipe.batch_size * POOL_BATCHES
    while True:
        order = torch.randperm(len(lengths), generator=generator).tolist()
        grouped = []
        for first in range(0, len(order), pool):
            alike = sorted(order[first : first + pool], key=lambda row: lengths[row])
            grouped += [alike[start : start + size] for start in range(0, len(alike), size)]
        for place in torch.randperm(len(grouped), generator=generator).tolist():
            yield grouped[place]


def train(
    module: nn.Module,
    data: Examples,
    objective: Objective,
    recipe: Recipe,
    worker: Worker,
    *,
    draw: Drawing | None = None,
    before_step: Callable[[int, Part], None] | None = None,
) -> Iterator[Progress]:
    """Train `module`, a tapped model, on `data`.

    Every worker sees the same batches and takes its part of each; the objective adds up over the
    workers, so that its loss is the same for any number of them.

    Args:
        draw: makes this worker's batch where the data's is not wanted.
        before_step: called with each step's number and part before its loss is taken.

    Yields:
        One Progress a step, with the terms of the loss and the learning rate.

    Raises:
        FloatingPointError: the loss is not finite; names the step.
    """
    wrapped = worker.wrap(module)
    wrapped.train()
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        # Fused: the embedding's four million weights are touched once a step, not six times.
        parameters,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    total = recipe.total_steps(len(data))
    lengths = [data.length(row) for row in range(len(data))]
    for step, rows in zip(range(total), batches(lengths, recipe), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, total)
        part = _forward(wrapped, data, rows, worker, step, draw)
        if before_step is not None:
            before_step(step, part)
        terms = objective(part, worker)
        loss = terms["loss"]
        if not torch.isfinite(loss):
            raise FloatingPointError(_not_finite(loss, part, rows, step + 1, total))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        optimizer.step()
        values = {f"train/{name}": term.item() for name, term in terms.items()}
        values |= {"train/learning_rate": recipe.rate(step, total), "train/grad_norm": norm.item()}
        yield Progress(step + 1, total, len(rows), StepMetrics(step + 1, values))
    wrapped.eval()


def _not_finite(loss: Tensor, part: Part, rows: Sequence[int], step: int, total: int) -> str:
    """Why a loss is not finite: the first step and single examples tell of the model or data."""
    text = f"the loss is {loss.item()} at step {step} of {total}"
    logits_NC = part.out.get(LOGITS)
    if logits_NC is not None and len(logits_NC) == len(part.rows):
        fine = finite_rows(logits_NC)
        bad = [row for row, good in zip(part.rows, fine, strict=True) if not good]
        if bad and len(bad) < len(rows):
            return f"{text}: the outputs are not finite on training example {min(bad)}"
    return f"{text}; try a smaller learning_rate or feature weight"


def finite_rows(outputs_NC: Tensor) -> list[bool]:
    """Which rows are finite throughout."""
    finite: list[bool] = torch.isfinite(outputs_NC.detach()).all(dim=1).tolist()
    return finite


def _forward(
    wrapped: nn.Module,
    data: Examples,
    rows: Sequence[int],
    worker: Worker,
    step: int,
    draw: Drawing | None,
) -> Part:
    mine, _ = worker.share(rows)
    # A last batch may be smaller than the number of workers. One without a row runs on somebody
    # else's and passes nothing on: all of them must take part in the backward pass.
    own, mine = bool(mine), mine or rows[:1]
    drawn = None if draw is None else draw(step, mine)
    batch = data.batch(mine) if drawn is None else drawn
    out = run(wrapped, batch, worker.device)
    if not own:
        out = {name: values[:0] for name, values in out.items()}
    if drawn is None:
        counts = _counts(data, rows, worker, batch)
    else:
        counts = _told_counts(batch, own, worker)
    return Part(mine, batch, own, out, counts)


def _counts(
    data: Examples, rows: Sequence[int], worker: Worker, batch: Batch
) -> dict[str, list[int]]:
    """How many rows of each kind every worker has: all of them know all examples."""
    parts = [worker.share(rows, rank)[0] for rank in range(worker.size)]
    stacks = list(batch.feature_masks) or [""]
    counts = {
        stack: [sum(data.feature_rows(row, stack) for row in part) for part in parts]
        for stack in stacks
    }
    return counts | {"targets": [sum(map(data.target_rows, part)) for part in parts]}


def _told_counts(batch: Batch, own: bool, worker: Worker) -> dict[str, list[int]]:
    """The same where each worker knows its own batch alone."""
    masks = {stack: int(mask.sum()) for stack, mask in batch.feature_masks.items()}
    mine = [*masks.values(), len(batch.labels_N)]
    row = torch.tensor([mine if own else [0] * len(mine)], dtype=torch.float64)
    told = worker.gather(row.to(worker.device), [1] * worker.size).long().T.tolist()
    return dict(zip([*masks, "targets"], told, strict=True))
