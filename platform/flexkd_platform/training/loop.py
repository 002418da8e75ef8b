"""The training loop that teachers and students share.

Shapes: N rows whose outputs are compared, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from ..plan import TrainingRecipe
from ..tasks import Batch, Examples
from ..tracking import Progress, StepMetrics
from .gradient import Gradient, unfinished_rows
from .micro_batch import MicroBatch, MicroBatchOutputs, Objective
from .worker import Worker

POOL_BATCHES = 16
"""Batches among which rows are sorted by length."""


class Drawing(Protocol):
    """Creates the batches of some steps from responses that are drawn during training."""

    def __call__(self, step: int, rows: Sequence[int]) -> Batch | None:
        """This worker's batch; None for a step on the data's own responses."""
        ...


def batches(lengths: Sequence[int], recipe: TrainingRecipe) -> Iterator[list[int]]:
    """The rows of each global batch, reshuffled in every epoch, endlessly.

    Rows are shuffled, sorted by length within pools of a few batches, and the batches are shuffled
    again. A batch is padded to its longest row; with rows of similar length, half of the work on
    padding is avoided. The seed determines which rows share a batch. With `batches: random` nothing
    is sorted, and a batch is a random sample: a loss with statistics of the batch, such as a
    correlation, then compares rows of all lengths.
    """
    generator = torch.Generator().manual_seed(recipe.seed)
    size, pool = recipe.batch_size, recipe.batch_size * POOL_BATCHES
    while True:
        order = torch.randperm(len(lengths), generator=generator).tolist()
        grouped = []
        for first in range(0, len(order), pool):
            alike = order[first : first + pool]
            if recipe.batches == "bucketed":
                alike.sort(key=lambda row: lengths[row])
            grouped += [alike[start : start + size] for start in range(0, len(alike), size)]
        for place in torch.randperm(len(grouped), generator=generator).tolist():
            yield grouped[place]


def train(
    module: nn.Module,
    data: Examples,
    objective: Objective,
    recipe: TrainingRecipe,
    worker: Worker,
    *,
    draw: Drawing | None = None,
    before_step: Callable[[int, Sequence[MicroBatch]], None] | None = None,
    micro_batch: int | None = None,
    begin: Callable[[nn.Module, torch.optim.Optimizer], int] | None = None,
    rows: Sequence[int] | None = None,
    epoch: int | None = None,
) -> Iterator[Progress]:
    """Train `module`, a model with hidden-state extraction, on `data`.

    Every worker sees the same batches and takes its shard of each; the objective is summed over the
    workers, so that its loss is the same for any number of them.

    Args:
        draw: creates this worker's batch instead of the data's own.
        before_step: called with each step's number and this worker's micro-batches before the
            loss is computed.
        micro_batch: examples of one forward pass; all of the worker's shard when None. The
            gradient is the same, see `Gradient`.
        begin: called with the wrapped module and the optimiser before the first step; restores an
            interrupted training, and returns how many steps it had done.
        rows: the examples that are read; all when None.
        epoch: how many examples count as an epoch, which decides the number of steps; those that
            are read when None.

    Yields:
        One Progress per step, with the terms of the loss, the learning rate, the norm of the
        gradient before clipping, and whether it was clipped (1 or 0).

    Raises:
        FloatingPointError: the loss is not finite; the message names the step.
    """
    wrapped = worker.wrap(module)
    wrapped.train()
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        # Fused: each step reads the embedding's four million weights once, not six times.
        parameters,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    done = 0 if begin is None else begin(wrapped, optimizer)
    known = range(len(data)) if rows is None else rows
    total = recipe.total_steps(len(known) if epoch is None else epoch)
    lengths = [data.length(row) for row in known]
    for step, places in zip(range(total), batches(lengths, recipe), strict=False):
        if step < done:
            continue
        batch = [known[place] for place in places]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, total)
        shares, counts = _shares(data, batch, worker, step, draw, micro_batch)
        if before_step is not None:
            before_step(step, shares)
        check = partial(_require_finite, rows=batch, step=step + 1, total=total)
        optimizer.zero_grad(set_to_none=True)
        gradient = Gradient(wrapped, objective, worker, recipe.precision, check)
        terms = gradient(shares, counts)
        norm = worker.clip(parameters, recipe.max_grad_norm)
        optimizer.step()
        values = {f"train/{name}": term.item() for name, term in terms.items()}
        values |= {
            "train/learning_rate": recipe.rate(step, total),
            "train/grad_norm": norm,
            "train/clipped": float(norm > recipe.max_grad_norm),
        }
        tokens = sum(lengths[place] for place in places)
        yield Progress(step + 1, total, len(batch), StepMetrics(step + 1, values), tokens)
    wrapped.eval()


def _require_finite(
    loss: Tensor, part: MicroBatchOutputs, *, rows: Sequence[int], step: int, total: int
) -> None:
    """Reject a loss that is not finite. The message names the step, and an example if only some
    outputs are affected.

    Raises:
        FloatingPointError: the loss is not finite.
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
) -> tuple[list[MicroBatch], dict[str, list[int]]]:
    """This worker's micro-batches of a batch, and how many rows of each kind every worker has."""
    mine, sizes = worker.share(rows)
    # The same number of forwards on every worker: workers wait for each other in each.
    pieces = -(-max(sizes) // micro_batch) if micro_batch else 1
    drawn = False
    shares = []
    weight = data.label_weight(rows)
    for piece in range(pieces):
        some = mine[len(mine) * piece // pieces : len(mine) * (piece + 1) // pieces]
        # A last batch may have fewer rows than workers. A worker without a row runs on another
        # worker's, which is not counted: all workers must take part in the backward pass.
        own, some = bool(some), some or rows[:1]
        made = None if draw is None else draw(step, some)
        drawn = made is not None
        shares.append(
            MicroBatch(some, data.batch(some) if made is None else made, own, label_weight=weight)
        )
    counts = _gathered_counts(shares, worker) if drawn else _counts(data, rows, worker, shares)
    return shares, counts


def _counts(
    data: Examples, rows: Sequence[int], worker: Worker, shares: Sequence[MicroBatch]
) -> dict[str, list[int]]:
    """How many rows of each kind every worker has, without communication: all know all examples."""
    parts = [worker.share(rows, rank)[0] for rank in range(worker.size)]
    stacks = list(shares[0].batch.feature_masks) or [""]
    counts = {
        stack: [sum(data.feature_rows(row, stack) for row in part) for part in parts]
        for stack in stacks
    }
    return counts | {
        "targets": [sum(map(data.target_rows, part)) for part in parts],
        "labels": [sum(map(data.label_rows, part)) for part in parts],
    }


def _gathered_counts(shares: Sequence[MicroBatch], worker: Worker) -> dict[str, list[int]]:
    """The same, gathered, where each worker knows only its own batches."""
    stacks = list(shares[0].batch.feature_masks)
    mine = [0] * (len(stacks) + 1)
    for share in (share for share in shares if share.own):
        masks = share.batch.feature_masks
        found = [*(int(masks[stack].sum()) for stack in stacks), len(share.batch.labels_N)]
        mine = [before + more for before, more in zip(mine, found, strict=True)]
    row = torch.tensor([mine], dtype=torch.float64)
    gathered = worker.gather(row.to(worker.device), [1] * worker.size).long().T.tolist()
    counts = dict(zip([*stacks, "targets"], gathered, strict=True))
    return counts | {"labels": counts["targets"]}
