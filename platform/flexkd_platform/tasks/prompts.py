"""Prompts, documents and responses as token ids, and batches of training examples.

Shapes: B examples, T tokens of the batch's longest, N target tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..data import PromptParts, split_prompt
from .batch import Batch
from .next_token import Prompts, padded
from .packing import packed_batch
from .truncation import Encoded, Lengths, plain_ids, truncated, whole_lengths

Ids = tuple[tuple[int, ...], ...]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    limit: int,
    template: str,
    protocol: Literal["clean", "minillm"] = "clean",
) -> Encoded:
    """Encode prompts of a causal model, with no special token but a beginning-of-sequence token if
    the tokenizer adds it by default.

    A prompt longer than `limit` tokens, including that one, is truncated. `clean` truncates the
    instruction or the input, see `truncated`, and keeps the template's own text. If that takes
    more than half of the limit, the template's introduction is left out, then its headings, never
    the marker of the response. `minillm` truncates the end of the prompt, including the marker, as
    that code does.

    Args:
        template: a name of `data.TEMPLATES` that made the prompts.

    Raises:
        NoRoomError: the limit has no room for a token in addition to the marker.
    """
    begin = _beginning(tokenizer)
    encoded, lengths, bare = [], [], 0
    for prompt in prompts:
        ids = begin + plain_ids(tokenizer, prompt)
        lengths.append(len(ids))
        if len(ids) > limit and (protocol == "minillm" or template == "none"):
            ids = ids[:limit]
        elif len(ids) > limit:
            ids, whole = _shortened(tokenizer, split_prompt(prompt, template), begin, limit)
            bare += not whole
        encoded.append(ids)
    return Encoded(encoded, Lengths.of(lengths, limit, bare))


def _shortened(
    tokenizer: PreTrainedTokenizerBase, whole: PromptParts, begin: list[int], limit: int
) -> tuple[list[int], bool]:
    """The ids of a prompt with truncated contents, and whether all text of the template is kept.

    Text of the template is left out if it takes more than half of the limit.
    """
    for parts in (whole, *whole.shorter()):

        def ids_of(contents: Sequence[str], parts: PromptParts = parts) -> list[int]:
            return begin + plain_ids(tokenizer, parts.joined(contents))

        fixed = len(ids_of([""] * len(parts.contents)))
        if 2 * fixed <= limit:
            break
    ids = truncated(tokenizer, parts.contents, ids_of, limit)
    if ids is None:
        raise NoRoomError(limit, fixed, f"marker {parts.fixed[-1].strip()!r}")
    return ids, parts is whole


class NoRoomError(ValueError):
    """Text that a prompt must have fills `max_prompt`. needed: its tokens."""

    def __init__(self, limit: int, needed: int, what: str) -> None:
        super().__init__(limit, needed, what)
        self.limit, self.needed, self.what = limit, needed, what

    def __str__(self) -> str:
        return (
            f"{self.limit} leaves no room for a prompt: the {self.what} alone has "
            f"{self.needed}; raise max_prompt above {self.needed}"
        )


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], *, limit: int
) -> Encoded:
    """Encode documents of an encoder–decoder, with the special tokens that the tokenizer adds.

    The text of a document with more than `limit` tokens, including special ones, is truncated, so
    that the end token is kept.
    """
    if not documents:
        return Encoded([])
    ids = tokenizer(list(documents), truncation=True, max_length=limit)["input_ids"]
    lengths = whole_lengths(tokenizer, ids, limit, list(documents))
    return Encoded([list(row) for row in ids], Lengths.of(lengths, limit))


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[str], *, limit: int, eos_id: int
) -> Encoded:
    """Encode responses as targets: no beginning-of-sequence token, `eos_id` at the end.

    A response of more than `limit` − 1 tokens is truncated to `limit` and gets no end token,
    because it does not end there. An empty response is the end token alone.
    """
    encoded, lengths = [], []
    for response in responses:
        ids = plain_ids(tokenizer, response)
        lengths.append(len(ids) + 1)
        encoded.append([*ids, eos_id] if len(ids) < limit else ids[:limit])
    return Encoded(encoded, Lengths.of(lengths, limit))


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The beginning-of-sequence token if the tokenizer adds it by default, or nothing."""
    first = list(tokenizer("a")["input_ids"][:1])
    return first if first == [tokenizer.bos_token_id] else []


@dataclass(frozen=True)
class GenerationExamples:
    """Prompts and the target responses, as token ids.

    pad_id: the token that fills shorter rows; never a target, so it may equal any other token.
    decoder_start_id: first token that the decoder of an encoder–decoder reads; None if causal.
    earlier: positions in each prompt of further targets, in ascending order from 1: the earlier
        turns of the assistant in a conversation. Empty: there are none in any prompt.
    lengths: of the whole `prompts` and `responses`.
    packed: tokens of a row of a batch that holds several examples one after the other; longer if an
        example is. 0: each example has a row of its own. Causal models only.
    compared: by stack, the rows of each example whose features are compared; all when None.

    Raises:
        ValueError: the numbers of prompts and responses differ, a response is empty, a prompt of a
            causal model is empty (no position predicts its response's first token), or an
            encoder–decoder has no start token.
    """

    prompts: Ids
    responses: Ids
    pad_id: int
    encoder_decoder: bool
    decoder_start_id: int | None
    earlier: Ids = ()
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    packed: int = 0
    compared: Mapping[str, Sequence[Sequence[int]]] | None = None

    def __post_init__(self) -> None:
        if len(self.prompts) != len(self.responses):
            raise ValueError(
                f"{len(self.prompts)} prompts and {len(self.responses)} responses; "
                "give one response for each prompt"
            )
        if not all(self.responses):
            raise ValueError("a response has no token; end each with the end-of-sequence token")
        if not all(self.prompts) and not self.encoder_decoder:
            raise ValueError("a causal model's prompt needs at least one token; one is empty")
        if self.encoder_decoder and self.decoder_start_id is None:
            raise ValueError("an encoder–decoder needs the decoder_start_id of its config")

    def __len__(self) -> int:
        return len(self.prompts)

    def length(self, row: int) -> int:
        """Tokens of prompt and response, by which examples are pooled."""
        return len(self.prompts[row]) + len(self.responses[row])

    def target_rows(self, row: int) -> int:
        """Target tokens of an example."""
        return len(self.responses[row]) + len(self._earlier(row))

    def label_rows(self, row: int) -> int:
        """All target tokens."""
        return self.target_rows(row)

    def label_weight(self, rows: Sequence[int]) -> None:
        """None: every token has the same weight."""

    def feature_rows(self, row: int, stack: str) -> int:
        """Document tokens for the encoder, target tokens for a decoder; those compared."""
        if self.compared is not None:
            return len(self.compared[stack][row])
        return len(self.prompts[row]) if stack == "encoder" else self.target_rows(row)

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some examples, padded on the right, so that positions need no correction.

        `targets_BT` are the positions of the logits that predict a response's token: a causal
        model's position t predicts token t + 1; a decoder reads its targets shifted right, so t
        predicts target t.
        """
        prompts = [self.prompts[row] for row in rows]
        responses = [self.responses[row] for row in rows]
        if self.decoder_start_id is not None and self.encoder_decoder:
            labels_N = torch.tensor([token for response in responses for token in response])
            batch = self._seq2seq(prompts, responses, self.decoder_start_id, labels_N)
            return replace(batch, feature_masks=self._compared(rows, batch.feature_masks))
        whole = [(*prompt, *response) for prompt, response in zip(prompts, responses, strict=True)]
        # The positions whose logits predict a target: a position's logits predict the next token.
        targets = [
            [*(place - 1 for place in self._earlier(row)), *range(len(prompt) - 1, len(text) - 1)]
            for row, prompt, text in zip(rows, prompts, whole, strict=True)
        ]
        if self.packed:
            return packed_batch(whole, targets, self.packed, self.pad_id)
        input_ids_BT, attention_mask_BT = padded(whole, self.pad_id, side="right")
        targets_BT = torch.zeros_like(input_ids_BT, dtype=torch.bool)
        for place, positions in enumerate(targets):
            targets_BT[place, positions] = True
        return Batch(
            inputs={"input_ids": input_ids_BT, "attention_mask": attention_mask_BT},
            targets_BT=targets_BT,
            labels_N=input_ids_BT.roll(-1, dims=1)[targets_BT],
            feature_masks=self._compared(rows, {"": targets_BT}),
        )

    def _earlier(self, row: int) -> tuple[int, ...]:
        return self.earlier[row] if self.earlier else ()

    def _compared(self, rows: Sequence[int], masks: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The masks, of the compared rows alone."""
        if self.compared is None:
            return masks
        kept = {}
        for stack, mask_BT in masks.items():
            kept[stack] = torch.zeros_like(mask_BT)
            for place, row in enumerate(rows):
                positions = mask_BT[place].nonzero()[:, 0]
                chosen = torch.tensor(list(self.compared[stack][row]), dtype=torch.long)
                kept[stack][place, positions[chosen]] = True
        return kept

    def _seq2seq(
        self, prompts: Prompts, responses: Prompts, start_id: int, labels_N: Tensor
    ) -> Batch:
        input_ids_BT, attention_mask_BT = padded(prompts, self.pad_id, side="right")
        shifted = [(start_id, *response[:-1]) for response in responses]
        decoder_input_ids_BT, there_BT = padded(shifted, self.pad_id, side="right")
        targets_BT = there_BT.bool()
        return Batch(
            inputs={
                "input_ids": input_ids_BT,
                "attention_mask": attention_mask_BT,
                "decoder_input_ids": decoder_input_ids_BT,
            },
            targets_BT=targets_BT,
            labels_N=labels_N,
            feature_masks={"encoder": attention_mask_BT.bool(), "decoder": targets_BT},
        )
