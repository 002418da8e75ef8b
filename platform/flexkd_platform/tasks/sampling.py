"""Sampling token by token, from one model or from a mixture of student and teacher.

Each row has its own random stream, so the response to a prompt does not depend on the rest of its
batch, except for the rounding of a batched matrix product: about 1e-6 of probability, which changes
a draw that is this close to the boundary between two tokens.

Shapes: B prompts, T tokens of the longest, V vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..models.config_facts import longest_input
from ..models.layers import unwrapped
from .next_token import Prompts, next_tokens


class Choose(Protocol):
    """How the next tokens are chosen: (p_BV, u_B) → token of each row, int64."""

    def __call__(self, p_BV: Tensor, u_B: Tensor) -> Tensor:
        """`p_BV`: fp64 probabilities; `u_B`: fp64 numbers of each row's stream, in [0, 1)."""
        ...


def likeliest(p_BV: Tensor, u_B: Tensor) -> Tensor:
    """The most likely token of each row; the stream is not used."""
    return p_BV.argmax(dim=-1)


def drawn(p_BV: Tensor, u_B: Tensor) -> Tensor:
    """The token whose interval of the cumulative distribution contains u: P(token) = p / Σp."""
    cumulative_BV = p_BV.cumsum(dim=-1)
    total_B1 = cumulative_BV[:, -1:]
    # u · total may round up to the total, beyond which there is no token.
    below_B1 = torch.nextafter(total_B1, torch.zeros_like(total_B1))
    place_B1 = torch.minimum(u_B[:, None] * total_B1, below_B1)
    return torch.searchsorted(cumulative_BV, place_B1, right=True)[:, 0]


@dataclass(frozen=True)
class DrawnFromTop:
    """A draw from the most likely tokens only.

    top_k: only tokens at least as likely as the k-th; None: all.
    top_p: only the smallest set of most likely tokens with this share of what top_k leaves.
    """

    top_k: int | None
    top_p: float

    def __call__(self, p_BV: Tensor, u_B: Tensor) -> Tensor:
        """See `Choose`."""
        return drawn(self.narrowed(p_BV), u_B)

    def narrowed(self, p_BV: Tensor) -> Tensor:
        """The probabilities, 0 for excluded tokens; they sum to at most 1."""
        if self.top_k is not None and self.top_k < p_BV.shape[-1]:
            kth_B1 = p_BV.topk(self.top_k).values[:, -1:]
            p_BV = torch.where(p_BV >= kth_B1, p_BV, 0)
        if self.top_p < 1:
            # Stable: of equally likely tokens, the one with the lower id comes first.
            sorted_BV, order_BV = p_BV.sort(dim=-1, descending=True, stable=True)
            likelier_BV = sorted_BV.cumsum(dim=-1) - sorted_BV
            within_BV = likelier_BV < self.top_p * sorted_BV.sum(dim=-1, keepdim=True)
            p_BV = p_BV * torch.zeros_like(p_BV).scatter(-1, order_BV, within_BV.to(p_BV))
        return p_BV


class _Ngrams:
    """Tracks the tokens that would repeat an n-gram of a given size."""

    def __init__(self, size: int, tokens: Sequence[int]) -> None:
        self._size = size
        self._tokens: list[int] = []
        self._after: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        if len(self._tokens) >= self._size - 1:
            self._after[self._last()].append(token)
        self._tokens.append(token)

    def banned(self) -> list[int]:
        return self._after.get(self._last(), [])

    def _last(self) -> tuple[int, ...]:
        return tuple(self._tokens[len(self._tokens) - self._size + 1 :])


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode of each module is restored on exit."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    for model in models:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def room(model: nn.Module, prompts: Prompts, max_new_tokens: int) -> list[int]:
    """How many tokens each prompt may be continued by, limited by the model's positions.

    The longest input limits prompt and continuation together for a causal model, start token and
    continuation for an encoder–decoder. T5 has no limit.

    Raises:
        ValueError: a prompt is longer than the model can read, or empty for a causal model.
    """
    config = unwrapped(model).config
    if not config.is_encoder_decoder and not all(prompts):
        raise ValueError("a causal model continues a prompt of at least one token; one is empty")
    limit = longest_input(config)
    longest = max(map(len, prompts), default=0)
    if longest > limit:
        raise ValueError(
            f"a prompt of {longest} tokens is longer than the {limit} that this "
            f"{config.model_type} model reads; encode prompts with a smaller limit"
        )
    taken = [1 if config.is_encoder_decoder else len(prompt) for prompt in prompts]
    return [min(max_new_tokens, limit - there) for there in taken]


def draw_tokens(
    models: Sequence[tuple[float, nn.Module]],
    prompts: Prompts,
    *,
    choose: Choose,
    streams: Sequence[np.random.Generator],
    rooms: Sequence[int],
    vocabulary: int,
    temperature: float,
    no_repeat_ngram: int,
    pad_id: int,
    eos_id: int,
    decoder_start_id: int | None,
    device: torch.device,
) -> list[list[int]]:
    """Continue prompts, token by token, from Σ_k w_k · softmax(logits_k / temperature).

    One batch. The models must be in evaluation mode (see `evaluating`).

    Args:
        models: (w_k, model); the weights sum to 1. All causal, or all encoder–decoders.
        choose: picks a token from each row's probabilities.
        streams: one for each prompt; each step uses one number of each.
        rooms: maximum number of new tokens for each prompt.
        vocabulary: ids from here on are never drawn: they are padding rows of an embedding.
        no_repeat_ngram: no n-gram of this size occurs twice in prompt and continuation, or in the
            continuation of an encoder–decoder; 0: no limit.

    Returns:
        The tokens of each continuation, with the end-of-sequence token last if it was drawn.

    Raises:
        ValueError: a model's logits are not finite.
    """
    if not prompts:
        return []
    readers = [next_tokens(model, prompts, pad_id=pad_id, device=device) for _, model in models]
    before = prompts if decoder_start_id is None else [[decoder_start_id]] * len(prompts)
    ngrams = [_Ngrams(no_repeat_ngram, row) for row in before] if no_repeat_ngram else []
    u_BK = torch.from_numpy(np.stack([stream.random(max(rooms)) for stream in streams]))
    found: list[list[int]] = [[] for _ in prompts]
    for step in range(max(rooms)):
        going = [_goes_on(row, step, most, eos_id) for row, most in zip(found, rooms, strict=True)]
        if not any(going):
            break
        if step == 0:
            logits = [reader.prompt_logits(decoder_start_id) for reader in readers]
        else:
            read_B = torch.tensor([row[-1] if len(row) == step else pad_id for row in found])
            logits = [reader.next_logits(read_B.to(device)) for reader in readers]
        p_BV = torch.zeros(len(prompts), vocabulary, dtype=torch.float64, device=device)
        for (weight, _), logits_BV in zip(models, logits, strict=True):
            kept_BV = logits_BV[:, :vocabulary].double()
            for place, row in enumerate(ngrams):
                kept_BV[place, row.banned()] = -torch.inf
            p_BV += weight * torch.softmax(kept_BV / temperature, dim=-1)
        if not bool(torch.isfinite(p_BV).all()):
            raise ValueError(
                "a model's logits are not finite, so no token can be drawn; "
                "its training has diverged: lower the learning rate"
            )
        tokens_B = choose(p_BV, u_BK[:, step].to(device))
        for place, token in enumerate(tokens_B.tolist()):
            if going[place]:
                found[place].append(token)
                if ngrams:
                    ngrams[place].add(token)
    return found


def _goes_on(row: Sequence[int], step: int, most: int, eos_id: int) -> bool:
    return len(row) == step < most and not (row and row[-1] == eos_id)


def draw_responses(
    student: nn.Module,
    teacher: nn.Module | None,
    prompts: Prompts,
    *,
    teacher_mix: float,
    temperature: float,
    max_new_tokens: int,
    seeds: Sequence[int],
    pad_id: int,
    eos_id: int,
    encoder_decoder: bool,
    decoder_start_id: int | None,
    device: torch.device,
) -> list[list[int]]:
    """Draw a response to each prompt from (1 − mix) · p_student + mix · p_teacher.

    For training on the student's own responses (GKD, Agarwal et al. 2024, arXiv:2306.13649), mixed
    with the teacher as in MiniLLM (Gu et al. 2024, arXiv:2306.08543, teacher-mixed sampling). The
    mixture is over each token's probabilities, both softened by the temperature. One batch; no
    gradients; the modes of both models are restored.

    Args:
        student, teacher: models with the same tokenizer; if one has more rows of vocabulary, the
            additional ones are never drawn. The teacher does not run at a mix of 0, nor the student
            at 1.
        teacher_mix: share of the teacher, in [0, 1].
        seeds: one for each prompt, from 0.
        decoder_start_id: first token of an encoder–decoder's decoder.

    Returns:
        The tokens of each response, with the end-of-sequence token last if it was drawn. A response
        without it was truncated at `max_new_tokens` or at the models' last position.

    Raises:
        ValueError: a mix without a teacher or outside [0, 1], different numbers of seeds and
            prompts, a prompt that is empty or too long, or logits that are not finite.
    """
    if not 0 <= teacher_mix <= 1:
        raise ValueError(f"a teacher_mix of {teacher_mix:g} is not a share; give one in [0, 1]")
    if teacher_mix and teacher is None:
        raise ValueError(
            f"a teacher_mix of {teacher_mix:g} needs a teacher; use 0 to draw from the student"
        )
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(seeds)} seeds for {len(prompts)} prompts; give one for each")
    if encoder_decoder and decoder_start_id is None:
        raise ValueError("an encoder–decoder needs the decoder_start_id of its config")
    both = [student] if teacher is None else [student, teacher]
    rooms = [
        min(tokens)
        for tokens in zip(*(room(model, prompts, max_new_tokens) for model in both), strict=True)
    ]
    weighed = zip((1 - teacher_mix, teacher_mix), both, strict=False)
    with evaluating(*both):
        return draw_tokens(
            [(weight, model) for weight, model in weighed if weight],
            prompts,
            choose=drawn,
            streams=[np.random.default_rng(seed) for seed in seeds],
            rooms=rooms,
            vocabulary=min(unwrapped(model).config.vocab_size for model in both),
            temperature=temperature,
            no_repeat_ngram=0,
            pad_id=pad_id,
            eos_id=eos_id,
            decoder_start_id=decoder_start_id if encoder_decoder else None,
            device=device,
        )
