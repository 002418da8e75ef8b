"""The training recipe: optimiser, schedule and number of steps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from ..spec import Distill, FineTune

Precision = Literal["fp32", "bf16"]
Batches = Literal["bucketed", "random"]


@dataclass(frozen=True)
class TrainingRecipe:
    """AdamW with linear warm-up and decay.

    `epochs` may be a fraction, and is not read if there are `max_steps`; `batch_size` counts the
    examples of an optimiser step over all workers; `seed` decides the order of the examples;
    `precision` is that of the matrix products; `batches` says whether rows of similar length share
    a batch.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_share: float
    max_grad_norm: float
    seed: int
    precision: Precision = "fp32"
    batches: Batches = "bucketed"
    max_steps: int | None = None

    @classmethod
    def of(cls, settings: FineTune | Distill, seed: int) -> TrainingRecipe:
        """The recipe that a section of the spec describes."""
        return cls(
            epochs=float(settings.epochs),  # a default of 2 is 2.0 in a spec's JSON and in the hash
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            warmup_share=settings.warmup_share,
            max_grad_norm=settings.max_grad_norm,
            seed=seed,
            precision=settings.precision,
            batches=settings.batches if isinstance(settings, Distill) else "bucketed",
            max_steps=settings.max_steps,
        )

    def to_identity(self) -> dict[str, Any]:
        """All settings that are read. Those that were added later are omitted at their defaults."""
        identity = asdict(self)
        del identity["max_steps" if self.max_steps is None else "epochs"]
        if self.precision == "fp32":
            del identity["precision"]
        if self.batches == "bucketed":
            del identity["batches"]
        return identity

    def total_steps(self, examples: int) -> int:
        """Optimiser steps of the whole training, at least one."""
        if self.max_steps is not None:
            return self.max_steps
        # Exact decimal: in floats, 1.1 epochs of 10 steps are more than 11 steps.
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
