"""Texts as token ids, and batches of them as padded tensors.

Shapes: B examples, T tokens of the batch's longest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Encoded:
    """The token ids of a split's texts, unpadded, special tokens included.

    pad_id: the token that fills a batch's shorter rows; masked, so its value does not matter.
    """

    ids: tuple[tuple[int, ...], ...]
    pad_id: int

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """`input_ids_BT` and `attention_mask_BT` (int64) of some rows, padded on the right."""
        chosen = [self.ids[row] for row in rows]
        longest = max(map(len, chosen))
        input_ids_BT = torch.full((len(chosen), longest), self.pad_id, dtype=torch.long)
        attention_mask_BT = torch.zeros_like(input_ids_BT)
        for place, ids in enumerate(chosen):
            input_ids_BT[place, : len(ids)] = torch.tensor(ids)
            attention_mask_BT[place, : len(ids)] = 1
        return input_ids_BT, attention_mask_BT


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int
) -> Encoded:
    """Tokenise texts, cut to `max_length` tokens, special tokens included."""
    ids = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"]
    return Encoded(tuple(map(tuple, ids)), tokenizer.pad_token_id or 0)
