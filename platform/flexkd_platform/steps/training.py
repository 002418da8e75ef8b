"""The training loop that teachers and students share.

Shapes: N rows of the global batch, D hidden units of the features, C outputs of the head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor, nn

from ..tasks import Encoded
from ..tracking import StepMetrics
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

    def __call__(
        self, rows: Sequence[int], features_ND: Tensor, logits_NC: Tensor
    ) -> dict[str, Tensor]:
        """Terms by name, all scalars; `loss` is the one that is minimised."""
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
    module: nn.Module, data: Encoded, objective: Objective, recipe: Recipe, worker: Worker
) -> Iterator[Progress]:
    """Train `module`, which maps (input_ids_BT, attention_mask_BT) to (features_BD, logits_BC).

    Every worker sees the same batches and takes its part of each; features and outputs are
    gathered, so that the objective always sees the global batch and its loss is the same for any
    number of workers.

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
    lengths = [len(ids) for ids in data.ids]
    for step, rows in zip(range(total), batches(lengths, recipe), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, total)
        features_ND, logits_NC = _forward(wrapped, data, rows, worker)
        terms = objective(rows, features_ND, logits_NC)
        loss = terms["loss"]
        if not torch.isfinite(loss):
            raise FloatingPointError(_not_finite(loss, logits_NC, rows, step + 1, total))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, recipe.max_grad_norm)
        optimizer.step()
        values = {f"train/{name}": term.item() for name, term in terms.items()}
        values |= {"train/learning_rate": recipe.rate(step, total), "train/grad_norm": norm.item()}
        yield Progress(step + 1, total, len(rows), StepMetrics(step + 1, values))
    wrapped.eval()


def _not_finite(loss: Tensor, logits_NC: Tensor, rows: Sequence[int], step: int, total: int) -> str:
    """Why a loss is not finite: the first step and single examples tell of the model or data."""
    bad = [row for row, fine in zip(rows, _finite_rows(logits_NC), strict=True) if not fine]
    text = f"the loss is {loss.item()} at step {step} of {total}"
    if bad and len(bad) < len(rows):
        return f"{text}: the outputs are not finite on training example {min(bad)}"
    return f"{text}; try a smaller learning_rate or feature weight"


def _finite_rows(logits_NC: Tensor) -> list[bool]:
    finite: list[bool] = torch.isfinite(logits_NC.detach()).all(dim=1).tolist()
    return finite


def check_outputs(logits_NC: Tensor, split: str) -> None:
    """Refuse outputs that no metric can be taken of.

    Raises:
        FloatingPointError: an output is NaN or infinite; names the first example.
    """
    finite = _finite_rows(logits_NC)
    if not all(finite):
        place = finite.index(False)
        raise FloatingPointError(f"the outputs are NaN or infinite on {split} example {place}")


def _forward(
    wrapped: nn.Module, data: Encoded, rows: Sequence[int], worker: Worker
) -> tuple[Tensor, Tensor]:
    mine, counts = worker.share(rows)
    # A last batch may be smaller than the number of workers. One without a row runs on somebody
    # else's and passes nothing on: all of them must take part in the backward pass.
    ids_BT, mask_BT = data.batch(mine or rows[:1])
    features_BD, logits_BC = wrapped(ids_BT.to(worker.device), mask_BT.to(worker.device))
    kept = len(mine)
    return worker.gather(features_BD[:kept], counts), worker.gather(logits_BC[:kept], counts)


@torch.no_grad()
def predict(module: nn.Module, data: Encoded, batch_size: int, device: torch.device) -> Tensor:
    """Outputs (N, C), fp32 on the CPU, of every row of a split, in its order."""
    was_training = module.training
    module.eval()
    outputs = []
    # By length: a batch is padded to its longest row, and prediction does not depend on order.
    order = sorted(range(len(data)), key=lambda row: len(data.ids[row]))
    for start in range(0, len(order), batch_size):
        ids_BT, mask_BT = data.batch(order[start : start + batch_size])
        outputs.append(module(ids_BT.to(device), mask_BT.to(device))[1].float().cpu())
    module.train(was_training)
    predicted_NC = torch.cat(outputs)
    in_order_NC = torch.empty_like(predicted_NC)
    in_order_NC[torch.tensor(order)] = predicted_NC
    return in_order_NC
