"""The logits of the next token of a batch of texts, token by token.

Shapes: B prompts, T tokens of the longest, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from typing_extensions import override

from ..models.family import family_of_config
from ..models.layers import unwrapped

Prompts = Sequence[Sequence[int]]


class Reader(Protocol):
    """Runs one model on a batch."""

    def prompt_logits(self, decoder_start_id: int | None) -> Tensor:
        """Logits (B, V) of the first token after the prompts."""
        ...

    def next_logits(self, tokens_B: Tensor) -> Tensor:
        """Logits (B, V) of the token after these."""
        ...


def next_tokens(model: nn.Module, prompts: Prompts, *, pad_id: int, device: torch.device) -> Reader:
    """A reader of these prompts by a model, in the way that its architecture allows."""
    whole = family_of_config(unwrapped(model).config).decoding == "whole"
    reader = WholeReader if whole else CachedReader
    return reader(model, prompts, pad_id=pad_id, device=device)


class CachedReader(Reader):
    """Reads new tokens only, with a cache of keys and values. Prompts are padded on the left."""

    def __init__(
        self, model: nn.Module, prompts: Prompts, *, pad_id: int, device: torch.device
    ) -> None:
        self._model = unwrapped(model)
        self._past: Any = None
        self._encoder_decoder = bool(self._model.config.is_encoder_decoder)
        side = "right" if self._encoder_decoder else "left"
        self._prompts_BT, self._mask_BT = padded(prompts, pad_id, side=side, device=device)
        self._encoded: Any = None

    @override
    def prompt_logits(self, decoder_start_id: int | None) -> Tensor:
        """Logits (B, V) of the first token."""
        if self._encoder_decoder:
            assert decoder_start_id is not None
            self._encoded = self._model.get_encoder()(
                input_ids=self._prompts_BT, attention_mask=self._mask_BT
            )
            return self._decoder_logits(torch.full_like(self._prompts_BT[:, :1], decoder_start_id))
        return self._causal_logits(self._prompts_BT)

    @override
    def next_logits(self, tokens_B: Tensor) -> Tensor:
        """Logits (B, V) of the token after these."""
        if self._encoder_decoder:
            return self._decoder_logits(tokens_B[:, None])
        self._mask_BT = nn.functional.pad(self._mask_BT, (0, 1), value=1)
        return self._causal_logits(tokens_B[:, None])

    def _causal_logits(self, tokens_BT: Tensor) -> Tensor:
        positions_BT = token_positions(self._mask_BT)
        output = self._model(
            input_ids=tokens_BT,
            attention_mask=self._mask_BT,
            position_ids=positions_BT[:, -tokens_BT.shape[1] :],
            past_key_values=self._past,
            use_cache=True,
            logits_to_keep=1,
        )
        self._past = output.past_key_values
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def _decoder_logits(self, tokens_B1: Tensor) -> Tensor:
        output = self._model(
            encoder_outputs=self._encoded,
            attention_mask=self._mask_BT,
            decoder_input_ids=tokens_B1,
            past_key_values=self._past,
            use_cache=True,
        )
        self._past = output.past_key_values
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV


class WholeReader(Reader):
    """Reads all tokens again for each new one, for models whose cache cannot skip padding.

    Padding is on the right, where no causal model reads it.
    """

    def __init__(
        self, model: nn.Module, prompts: Prompts, *, pad_id: int, device: torch.device
    ) -> None:
        self._model = unwrapped(model)
        self._rows = [list(prompt) for prompt in prompts]
        self._pad_id, self._device = pad_id, device

    @override
    def prompt_logits(self, decoder_start_id: int | None) -> Tensor:
        """Logits (B, V) of the first token."""
        ids_BT, mask_BT = padded(self._rows, self._pad_id, side="right", device=self._device)
        output = self._model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
        last_B = mask_BT.sum(dim=1) - 1
        logits_BV: Tensor = output.logits[torch.arange(len(last_B)), last_B]
        return logits_BV

    @override
    def next_logits(self, tokens_B: Tensor) -> Tensor:
        """Logits (B, V) of the token after these."""
        for row, token in zip(self._rows, tokens_B.tolist(), strict=True):
            row.append(token)
        return self.prompt_logits(None)


def token_positions(mask_BT: Tensor) -> Tensor:
    """Positions (B, T) from each row's first real token; GPT-2 would count left padding."""
    return (mask_BT.cumsum(dim=1) - 1).clamp(min=0)


def padded(
    rows: Prompts, pad_id: int, *, side: str, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) and their attention mask (B, T), both int64, padded at `side`."""
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for place, row in enumerate(rows):
        there = slice(0, len(row)) if side == "right" else slice(longest - len(row), longest)
        ids_BT[place, there] = torch.tensor(row, dtype=torch.long)
        mask_BT[place, there] = 1
    return ids_BT.to(device), mask_BT.to(device)
