"""Prompts, documents and responses as token ids, and batches of training examples.

Shapes: B examples, T tokens of the batch's longest, N target tokens of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from .batch import Batch
from .next_token import Prompts, padded

Ids = tuple[tuple[int, ...], ...]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    limit: int,
    marker: str,
    protocol: Literal["clean", "minillm"],
) -> list[list[int]]:
    """Encode prompts of a causal model, with no special token but a beginning-of-sequence token if
    the tokenizer adds it by default.

    A prompt longer than `limit` tokens, including that one, is truncated. `clean` truncates the
    text before the marker and keeps the marker's tokens, so the model still sees where the
    response starts. `minillm` truncates the end of the prompt, including the marker, as that code
    does.

    Args:
        marker: what every prompt ends with, such as "\\n\\n### Response:\\n"; "": nothing.

    Raises:
        ValueError: a prompt does not end with the marker, or the limit has no room for a token
            in addition to the marker.
    """
    begin = _beginning(tokenizer)
    encoded = []
    for prompt in prompts:
        if not prompt.endswith(marker):
            raise ValueError(f"the prompt {prompt[-40:]!r} does not end with the marker {marker!r}")
        ids = _plain(tokenizer, prompt)
        if protocol == "clean" and marker and len(begin) + len(ids) > limit:
            content = _plain(tokenizer, prompt.removesuffix(marker))
            # From where the two differ: a token may straddle the start of the marker.
            tail = ids[_common(ids, content) :]
            kept = limit - len(begin) - len(tail)
            if kept < 1:
                raise ValueError(
                    f"{limit} tokens leave no room for a prompt in addition to the {len(tail)} of "
                    f"its marker {marker!r}; raise max_prompt above {len(begin) + len(tail)}"
                )
            ids = ids[:kept] + tail
        encoded.append((begin + ids)[:limit])
    return encoded


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, documents: Sequence[str], *, limit: int
) -> list[list[int]]:
    """Encode documents of an encoder–decoder, with the special tokens that the tokenizer adds.

    The text of a document with more than `limit` tokens, including special ones, is truncated, so
    that the end token is kept.
    """
    if not documents:
        return []
    ids = tokenizer(list(documents), truncation=True, max_length=limit)["input_ids"]
    return [list(row) for row in ids]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, responses: Sequence[str], *, limit: int, eos_id: int
) -> list[list[int]]:
    """Encode responses as targets: no beginning-of-sequence token, `eos_id` at the end.

    A response of more than `limit` − 1 tokens is truncated to `limit` and gets no end token,
    because it does not end there. An empty response is the end token alone.
    """
    encoded = []
    for response in responses:
        ids = _plain(tokenizer, response)
        encoded.append([*ids, eos_id] if len(ids) < limit else ids[:limit])
    return encoded


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    # Not verbose: callers truncate texts that are longer than the model reads.
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The beginning-of-sequence token if the tokenizer adds it by default, or nothing."""
    first = list(tokenizer("a")["input_ids"][:1])
    return first if first == [tokenizer.bos_token_id] else []


def _common(some: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common prefix of two token sequences."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(some), len(others)))


@dataclass(frozen=True)
class GenerationExamples:
    """Prompts and the target responses, as token ids.

    pad_id: the token that fills shorter rows; never a target, so it may equal any other token.
    decoder_start_id: first token that the decoder of an encoder–decoder reads; None if causal.

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
        return len(self.responses[row])

    def label_rows(self, row: int) -> int:
        """All target tokens."""
        return self.target_rows(row)

    def feature_rows(self, row: int, stack: str) -> int:
        """Document tokens for the encoder, target tokens for a decoder."""
        return len(self.prompts[row] if stack == "encoder" else self.responses[row])

    def batch(self, rows: Sequence[int]) -> Batch:
        """Some examples, padded on the right, so that positions need no correction.

        `targets_BT` are the positions of the logits that predict a response's token: a causal
        model's position t predicts token t + 1; a decoder reads its targets shifted right, so t
        predicts target t.
        """
        prompts = [self.prompts[row] for row in rows]
        responses = [self.responses[row] for row in rows]
        labels_N = torch.tensor([token for response in responses for token in response])
        if self.decoder_start_id is not None and self.encoder_decoder:
            return self._seq2seq(prompts, responses, self.decoder_start_id, labels_N)
        whole = [(*prompt, *response) for prompt, response in zip(prompts, responses, strict=True)]
        input_ids_BT, attention_mask_BT = padded(whole, self.pad_id, side="right")
        places_T = torch.arange(input_ids_BT.shape[1])
        first_B1 = torch.tensor([[len(prompt) - 1] for prompt in prompts])
        end_B1 = torch.tensor([[len(row) - 1] for row in whole])
        targets_BT = (places_T >= first_B1) & (places_T < end_B1)
        return Batch(
            inputs={"input_ids": input_ids_BT, "attention_mask": attention_mask_BT},
            targets_BT=targets_BT,
            labels_N=labels_N,
            feature_masks={"": targets_BT},
        )

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
