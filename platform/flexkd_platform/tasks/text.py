"""Labelled texts, or pairs of texts, as token ids and padded batches.

Shapes: B examples, T tokens of the batch's longest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .batch import Batch
from .truncation import Lengths, whole_lengths
from .unlabelled import has_label


@dataclass(frozen=True, eq=False)
class LabelExamples:
    """The token ids of a split's texts, unpadded, special tokens included, with their labels.

    types: token type ids if pairs have them; empty otherwise.
    labels: (examples,) int64 classes or fp32 numbers, or (examples, classes) fp32 of 0 and 1; see
        `has_label`.
    pad_id: the token that fills a batch's shorter rows; masked, so its value does not matter.
    lengths: of the whole `texts`.
    weights: (examples,) fp64, of the examples in the mean of the supervised loss; None for 1.
    """

    ids: tuple[tuple[int, ...], ...]
    types: tuple[tuple[int, ...], ...]
    labels: Tensor
    pad_id: int
    padding: Literal["right", "left"] = "right"
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def length(self, row: int) -> int:
        """Tokens of the text."""
        return len(self.ids[row])

    def target_rows(self, row: int) -> int:
        """One: the output of the head."""
        return 1

    def label_rows(self, row: int) -> int:
        """One if the label is known, else none."""
        return int(has_label(self.labels[row : row + 1]))

    def label_weight(self, rows: Sequence[int]) -> float | None:
        """The sum of the weights of some examples."""
        return None if self.weights is None else float(self.weights[list(rows)].sum())

    def feature_rows(self, row: int, stack: str) -> int:
        """One: the input of the head."""
        return 1

    def batch(self, rows: Sequence[int]) -> Batch:
        """`input_ids` and `attention_mask` (int64), and `token_type_ids` of pairs."""
        inputs = {
            "input_ids": self._padded([self.ids[row] for row in rows], self.pad_id),
            "attention_mask": self._padded([(1,) * len(self.ids[row]) for row in rows], 0),
        }
        if self.types:
            inputs["token_type_ids"] = self._padded([self.types[row] for row in rows], 0)
        return Batch(inputs, self.labels[torch.tensor(rows)], None, {})

    def _padded(self, values: Sequence[Sequence[int]], fill: int) -> Tensor:
        longest = max(map(len, values))
        padded_BT = torch.full((len(values), longest), fill, dtype=torch.long)
        for place, row in enumerate(values):
            start = longest - len(row) if self.padding == "left" else 0
            padded_BT[place, start : start + len(row)] = torch.tensor(row)
        return padded_BT


def encode_texts(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    labels: Tensor,
    max_length: int,
    *,
    pairs: Sequence[str] | None = None,
    padding: Literal["right", "left"] = "right",
) -> LabelExamples:
    """Tokenise texts, truncated to `max_length` tokens, special tokens included.

    In a pair, the longer text is truncated first. If the tokenizer does not separate the two texts
    of a pair, as those of decoders, an end-of-text token is inserted between them.
    """
    types: Sequence[Sequence[int]] | None = None
    if pairs is not None and not _separates_pairs(tokenizer):
        ids, lengths = _joined(tokenizer, texts, pairs, max_length)
    else:
        given = (list(texts),) if pairs is None else (list(texts), list(pairs))
        encoded = tokenizer(*given, truncation=True, max_length=max_length)
        ids = encoded["input_ids"]
        types = encoded.get("token_type_ids") if pairs is not None else None
        lengths = whole_lengths(tokenizer, ids, max_length, *given)
    return LabelExamples(
        tuple(map(tuple, ids)),
        tuple(map(tuple, types or ())),
        labels,
        tokenizer.pad_token_id or 0,
        padding,
        {"texts": Lengths.of(lengths, max_length)},
    )


def _separates_pairs(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer separates the two texts of a pair."""
    two = tokenizer("b", add_special_tokens=False)["input_ids"]
    return len(tokenizer("a", "b")["input_ids"]) > len(tokenizer("a")["input_ids"]) + len(two)


def _joined(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    pairs: Sequence[str],
    max_length: int,
) -> tuple[list[list[int]], list[int]]:
    """Pairs with an end-of-text token in between, after the tokenizer's beginning token; and the
    lengths of the whole pairs.
    """
    first = list(tokenizer("a")["input_ids"][:1])
    begin = first if first == [tokenizer.bos_token_id] else []
    between = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    room = max_length - len(begin) - len(between)
    joined, lengths = [], []
    for text, pair in zip(texts, pairs, strict=True):
        one, two = (
            list(tokenizer(t, add_special_tokens=False, verbose=False)["input_ids"])
            for t in (text, pair)
        )
        # The longer text gets the room that the shorter one leaves.
        kept_two = min(len(two), max(room // 2, room - len(one)))
        kept_one = min(len(one), room - kept_two)
        lengths.append(max_length - room + len(one) + len(two))
        joined.append(begin + one[:kept_one] + between + two[:kept_two])
    return joined, lengths
