"""What every task's examples can do: tell their size, and become batches.

Shapes: B examples, T positions, N rows that outputs are compared at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples as tensors.

    inputs: what the model is called with.
    labels_N: the right answer at each compared row, example by example: a class, a number, or a
        token.
    targets_BT: bool, the positions whose outputs are compared, in row-major order those of
        `labels_N`; None where the model's head decides, one row an example.
    feature_masks: bool (B, T) by stack, the positions whose hidden states are compared; empty
        where the head decides.
    """

    inputs: Mapping[str, Tensor]
    labels_N: Tensor
    targets_BT: Tensor | None
    feature_masks: Mapping[str, Tensor]


class Examples(Protocol):
    """The encoded examples of a split."""

    def __len__(self) -> int: ...

    def length(self, row: int) -> int:
        """Tokens that a batch is padded by for this example."""
        ...

    def target_rows(self, row: int) -> int:
        """How many rows of outputs are compared."""
        ...

    def feature_rows(self, row: int, stack: str) -> int:
        """How many rows of a stack's hidden states are compared."""
        ...

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some examples, in the order given, padded to the longest."""
        ...
