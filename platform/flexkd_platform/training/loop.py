"""The training loop that teachers and students share.

Shapes: N rows whose outputs are compared, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..tasks import Batch, Examples
from ..tracking import StepMetrics
from .gradient import Gradient, unfinished_rows
from .micro_batch import Objective, Part, Share
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
        # The decimal as it is written: in floats 1.1 epochs of 10 steps are more than 11 steps.
        return max(1, math.ceil(Fraction(str(self.epochs)) * self.epoch_steps(examples)))

    def epoch_steps(self, examples: int) -> int:
        """Optimiser steps of one epoch."""
        return math.ceil(examples / self.batch_size)

    def rate(self, step: int, total: int) -> float:
        """Learning rate of step `step` (from 0): up to the peak, then down to 0."""
        warmup = round(self.warmup_share * total)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (total - step) / max(1, total - warmup)


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
    before_step: Callable[[int, Sequence[Share]], None] | None = None,
    micro_batch: int | None = None,
    begin: Callable[[nn.Module, torch.optim.Optimizer], int] | None = None,
) -> Iterator[Progress]:
    """Train `module`, a tapped model, on `data`.

    Every worker sees the same batches and takes its part of each; the objective adds up over the
    workers, so that its loss is the same for any number of them.

    Args:
        draw: makes this worker's batch where the data's is not wanted.
        before_step: called with each step's number and this worker's shares before its loss is
            taken.
        micro_batch: examples that a worker reads at a time; all of its part when None. The
            gradient is the same, see `Gradient`.
        begin: is handed the wrapped module and the optimiser before the first step; puts them
            where an earlier training was cut off, and returns how many steps that had done.

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
    done = 0 if begin is None else begin(wrapped, optimizer)
    total = recipe.total_steps(len(data))
    lengths = [data.length(row) for row in range(len(data))]
    for step, rows in zip(range(total), batches(lengths, recipe), strict=False):
        if step < done:
            continue
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, total)
        shares, counts = _shares(data, rows, worker, step, draw, micro_batch)
        if before_step is not None:
            before_step(step, shares)
        check = partial(_require_finite, rows=rows, step=step + 1, total=total)
        optimizer.zero_grad(set_to_none=True)
        gradient = Gradient(wrapped, objective, worker, recipe.precision, check)
        terms = gradient(shares, counts)
        norm = worker.clip(parameters, recipe.max_grad_norm)
        optimizer.step()
        values = {f"train/{name}": term.item() for name, term in terms.items()}
        values |= {"train/learning_rate": recipe.rate(step, total), "train/grad_norm": norm}
        yield Progress(step + 1, total, len(rows), StepMetrics(step + 1, values))
    wrapped.eval()


def _require_finite(
    loss: Tensor, part: Part, *, rows: Sequence[int], step: int, total: int
) -> None:
    """Why a loss is not finite: the first step and single examples tell of the model or data.

    Raises:
        FloatingPointError: it is not.
    """
    if torch.isfinite(loss):
        return
    text = f"the loss is {loss.item()} at step {step} of {total}"
    bad = unfinished_rows(part)
    if bad and len(bad) < len(rows):
        raise FloatingPointError(
            f"{text}: the outputs are not finite on training example {min(bad)}"
        )
    raise FloatingPointError(f"{text}; try a smaller learning_rate or feature weight")


def _shares(
    data: Examples,
    rows: Sequence[int],
    worker: Worker,
    step: int,
    draw: Drawing | None,
    micro_batch: int | None,
) -> tuple[list[Share], dict[str, list[int]]]:
    """This worker's micro-batches of a batch, and how many rows of each kind every worker has."""
    mine, sizes = worker.share(rows)
    # As many forwards on every worker: they wait for each other in each.
    pieces = -(-max(sizes) // micro_batch) if micro_batch else 1
    drawn = False
    shares = []
    for piece in range(pieces):
        some = mine[len(mine) * piece // pieces : len(mine) * (piece + 1) // pieces]
        # A last batch may be smaller than the number of workers. One without a row runs on somebody
        # else's and passes nothing on: all of them must take part in the backward pass.
        own, some = bool(some), some or rows[:1]
        made = None if draw is None else draw(step, some)
        drawn = made is not None
        shares.append(Share(some, data.batch(some) if made is None else made, own))
    counts = _told_counts(shares, worker) if drawn else _counts(data, rows, worker, shares)
    return shares, counts


def _counts(
    data: Examples, rows: Sequence[int], worker: Worker, shares: Sequence[Share]
) -> dict[str, list[int]]:
    """How many rows of each kind every worker has: all of them know all examples."""
    parts = [worker.share(rows, rank)[0] for rank in range(worker.size)]
    stacks = list(shares[0].batch.feature_masks) or [""]
    counts = {
        stack: [sum(data.feature_rows(row, stack) for row in part) for part in parts]
        for stack in stacks
    }
    return counts | {"targets": [sum(map(data.target_rows, part)) for part in parts]}


def _told_counts(shares: Sequence[Share], worker: Worker) -> dict[str, list[int]]:
    """The same where each worker knows its own batches alone."""
    stacks = list(shares[0].batch.feature_masks)
    mine = [0] * (len(stacks) + 1)
    for share in (share for share in shares if share.own):
        masks = share.batch.feature_masks
        found = [*(int(masks[stack].sum()) for stack in stacks), len(share.batch.labels_N)]
        mine = [before + more for before, more in zip(mine, found, strict=True)]
    row = torch.tensor([mine], dtype=torch.float64)
    told = worker.gather(row.to(worker.device), [1] * worker.size).long().T.tolist()
    return dict(zip([*stacks, "targets"], told, strict=True))
