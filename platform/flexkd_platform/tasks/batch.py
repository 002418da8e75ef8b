"""The interface of a task's encoded examples: their sizes, and batches.

Shapes: B examples, T positions, N rows that outputs are compared at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from .truncation import Lengths


@dataclass(frozen=True, eq=False)
class Batch:
    """Some examples as tensors.

    inputs: the model's keyword arguments.
    labels_N: the label of each compared row, example by example: a class, a number, or a token; or
        (N, C) with 1 for each class that the row has.
    targets_BT: bool, the positions whose outputs are compared, in row-major order those of
        `labels_N`; None if the model's head selects one row per example.
    feature_masks: bool (B, T) by stack, the positions whose hidden states are compared; empty if
        the head selects them.
    """

    inputs: Mapping[str, Tensor]
    labels_N: Tensor
    targets_BT: Tensor | None
    feature_masks: Mapping[str, Tensor]


class Examples(Protocol):
    """The encoded examples of a split."""

    @property
    def lengths(self) -> Mapping[str, Lengths]:
        """How long the whole `prompts`, `responses` or `texts` are, before truncation."""
        ...

    def __len__(self) -> int: ...

    def length(self, row: int) -> int:
        """Length of an example in tokens, which decides the padding of its batch."""
        ...

    def target_rows(self, row: int) -> int:
        """How many rows of outputs are compared."""
        ...

    def label_rows(self, row: int) -> int:
        """How many of the compared outputs have a label."""
        ...

    def label_weight(self, rows: Sequence[int]) -> float | None:
        """What the supervised loss of some examples is divided by; None: by their number of labels.

        With class weights that weigh rows, the sum of the weights of their labels.
        """
        ...

    def feature_rows(self, row: int, stack: str) -> int:
        """How many rows of a stack's hidden states are compared."""
        ...

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some examples, in the order given, padded to the longest."""
        ...
