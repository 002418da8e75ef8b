"""Text generation from prompts: greedy, sampling, or beam search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..models.family import family_of_config
from ..models.layers import unwrapped
from ..spec import Beam, Decoding, Greedy, Sampling
from .next_token import Prompts, padded
from .sampling import Choose, DrawnFromTop, draw_tokens, evaluating, likeliest, room


def generate(
    model: nn.Module,
    prompts: Prompts,
    *,
    decoding: Decoding,
    max_new_tokens: int,
    seed: int,
    pad_id: int,
    eos_id: int,
    no_repeat_ngram: int = 0,
    batch_size: int = 16,
    device: torch.device,
) -> list[list[int]]:
    """Continue each prompt until the end-of-sequence token, `max_new_tokens`, or the last position.

    A checkpoint's own generation settings (temperature, minimal lengths, forced tokens, …) are
    ignored. Prompts of similar length share a batch; a result depends on its batch only by
    floating-point rounding (not at all with `batch_size` 1). Prompt i is sampled with the seed
    (seed, i). Gradients are off; the modes of the model's modules are restored.

    Args:
        model: causal, or an encoder–decoder whose config names its decoder's first token.
        decoding: greedy, sampling (its list of seeds is not read; `seed` is), or beams.
        max_new_tokens: the most tokens after a prompt; fewer near the model's last position.
        seed: from 0; read by sampling alone.
        no_repeat_ngram: no n-gram of this size occurs twice in prompt and continuation (in the
            continuation of an encoder–decoder); 0: the beam search's setting, otherwise no limit.

    Returns:
        The new tokens in the order of the prompts, without padding and end-of-sequence tokens.

    Raises:
        ValueError: a prompt is empty or too long, or (except in beam search) a model's logits are
            not finite.
    """
    rooms = room(model, prompts, max_new_tokens)
    found: list[list[int]] = [[] for _ in prompts]
    with evaluating(model):
        for batch in _batches(prompts, rooms, batch_size):
            chosen = [prompts[row] for row in batch]
            if isinstance(decoding, Beam):
                size = no_repeat_ngram or decoding.no_repeat_ngram
                tokens = [
                    row
                    for some in _beam_batches(unwrapped(model), chosen)
                    for row in _beams(
                        unwrapped(model), some, decoding, rooms[batch[0]], pad_id, eos_id, size
                    )
                ]
            else:
                choose, temperature = _rule(decoding)
                tokens = draw_tokens(
                    [(1.0, model)],
                    chosen,
                    choose=choose,
                    streams=[np.random.default_rng((seed, row)) for row in batch],
                    rooms=[rooms[row] for row in batch],
                    vocabulary=unwrapped(model).config.vocab_size,
                    temperature=temperature,
                    no_repeat_ngram=no_repeat_ngram,
                    pad_id=pad_id,
                    eos_id=eos_id,
                    decoder_start_id=decoder_start(model),
                    device=device,
                )
            for row, ids in zip(batch, tokens, strict=True):
                end = ids.index(eos_id) if eos_id in ids else len(ids)
                found[row] = [token for token in ids[:end] if token != pad_id]
    return found


def decoder_start(model: nn.Module) -> int | None:
    """The first token that an encoder–decoder's decoder reads; None for causal models.

    Raises:
        ValueError: the config does not name it.
    """
    config = unwrapped(model).config
    if not config.is_encoder_decoder:
        return None
    if config.decoder_start_token_id is None:
        raise ValueError(
            f"the config of this {config.model_type} model does not set decoder_start_token_id; "
            "add it (T5's is its padding token)"
        )
    return int(config.decoder_start_token_id)


def decode(tokenizer: PreTrainedTokenizerBase, ids: Prompts) -> list[str]:
    """Decode tokens to texts, without special tokens and surrounding white space."""
    texts = tokenizer.batch_decode(
        [list(row) for row in ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [text.strip() for text in texts]


def _rule(decoding: Greedy | Sampling) -> tuple[Choose, float]:
    """How a token is chosen, and at which temperature."""
    if isinstance(decoding, Greedy):
        return likeliest, 1.0
    return DrawnFromTop(decoding.top_k, decoding.top_p), decoding.temperature


def _batches(prompts: Prompts, rooms: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Rows of similar length and equal room, so that no row shortens another row's result."""
    order = sorted(range(len(prompts)), key=lambda row: (rooms[row], len(prompts[row])))
    batch: list[int] = []
    for row in order:
        if rooms[row] == 0:
            continue
        if batch and (len(batch) == batch_size or rooms[row] != rooms[batch[0]]):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _beam_batches(model: PreTrainedModel, prompts: Prompts) -> list[Prompts]:
    """One batch, or each prompt alone for a model that cannot skip padding on the left."""
    if _reads_whole(model):
        return [[prompt] for prompt in prompts]
    return [prompts]


def _reads_whole(model: PreTrainedModel) -> bool:
    return family_of_config(model.config).decoding == "whole"


def _beams(
    model: PreTrainedModel,
    prompts: Prompts,
    decoding: Beam,
    max_new_tokens: int,
    pad_id: int,
    eos_id: int,
    no_repeat_ngram: int,
) -> list[list[int]]:
    encoder_decoder = bool(model.config.is_encoder_decoder)
    side = "right" if encoder_decoder else "left"
    ids_BT, mask_BT = padded(prompts, pad_id, side=side, device=model.device)
    config = GenerationConfig(
        do_sample=False,
        num_beams=decoding.beams,
        length_penalty=decoding.length_penalty,
        early_stopping=False,
        no_repeat_ngram_size=no_repeat_ngram,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad_id,
        eos_token_id=eos_id,
        decoder_start_token_id=decoder_start(model),
        use_cache=not _reads_whole(model),
    )
    own = model.generation_config
    # Settings that the call does not give would be taken from the checkpoint: minimal lengths,
    # forced and suppressed tokens, penalties.
    model.generation_config = GenerationConfig()
    try:
        out_BT = model.generate(input_ids=ids_BT, attention_mask=mask_BT, generation_config=config)
    finally:
        model.generation_config = own
    new = 1 if encoder_decoder else ids_BT.shape[1]
    return [row[new:] for row in out_BT.tolist()]
