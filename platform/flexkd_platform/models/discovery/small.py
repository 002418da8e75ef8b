"""A small copy of a model: the same architecture, narrower and shallower, with random weights.

What a model computes is tried on it, since a real one may be too large to run before a job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ...model_info.errors import ModelError, first_line
from ...model_info.quiet import quiet
from ..random_state import kept_random_state

VOCABULARY = 48
"""Words of a small copy; special tokens are the first ones."""

LABELS = 7
"""Outputs of a small copy's classification head: a number that no other size of it is."""

LAYER_COUNTS = (
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
    "num_layers",
    "num_decoder_layers",
)
"""Config keys of numbers of layers."""

FIRST_WORD = 16
"""The first token id of a small copy that is not special."""

_SEED = 20251128
_LARGEST = 60_000_000  # parameters: a second to make, 250 MB
_DEPTH = 6  # holds the patterns of layers in use, as 5 of sliding attention and 1 of full
_NARROWEST = 8  # width of an attention head; rotary embeddings use part of it, in pairs

_WIDTH = re.compile(r"(size|dim|d_model|d_ff|d_kv|d_inner|n_embd|n_inner|rank)$")
_NOT_A_WIDTH = re.compile(
    r"vocab|window|chunk|block|kernel|image|patch|batch|state_size|group_size|conv"
)


def small_copies(config: Any) -> Iterator[Any]:
    """Configs of the same architecture, the smallest first, the config's own width and depth last.

    Which size works differs between architectures: some have groups, or rotary dimensions, that a
    width must hold, or settings of every layer that are not a list of them.
    """
    for divisor in _divisors(config):
        for depth in (_DEPTH, None):
            small = _smaller(config, divisor, depth)
            if small is not None:
                yield small


def make_small(auto: Any, small: Any) -> PreTrainedModel:
    """A model of a small copy's config: on the CPU, fp32, in eval mode, weights random.

    Every parameter is random, with values so large that no non-linearity is nearly linear: biases
    and norms, which start at 0 and 1, would hide what they do.

    Raises:
        ModelError: it is too large to try.
        Exception: transformers cannot build it; there is no common base of its errors.
    """
    with quiet(), torch.device("meta"):
        parameters = sum(weight.numel() for weight in auto.from_config(small).parameters())
    if parameters > _LARGEST:
        raise ModelError(
            f"a {small.model_type} model of this width is too large to try: {parameters:,} weights",
            "name a model with an entry: flexkd list models",
        )
    with quiet(), kept_random_state(_SEED):
        model: PreTrainedModel = auto.from_config(
            small, dtype=torch.float32, attn_implementation="eager"
        )
        _randomise(model)
    return model.eval()


def why(error: Exception) -> str:
    """What an error of a trial says, in one line."""
    return error.message if isinstance(error, ModelError) else first_line(error)


def _randomise(model: nn.Module) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.5 / weight.shape[-1] ** 0.5 + 0.05)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
            else:  # a norm's scale, or a state-space model's time constants
                weight.add_(torch.empty_like(weight).normal_(0, 0.1))


def _divisors(config: Any) -> list[int]:
    """By how much the widths may be divided, most first; attention heads stay even."""
    heads = getattr(config, "num_attention_heads", None)
    width = getattr(config, "hidden_size", None)
    if not isinstance(width, int):
        return [1]
    whole = width // heads if isinstance(heads, int) and heads and width % heads == 0 else width
    least = _NARROWEST if whole != width else 32
    found = [d for d in range(1, whole + 1) if whole % d == 0 and whole // d >= least]
    even = [d for d in found if whole // d % 2 == 0] or [1]
    return sorted({1, even[-1], even[len(even) // 2]}, reverse=True)


def _smaller(config: Any, divisor: int, depth: int | None) -> Any | None:
    """The config with its widths divided and its first layers; None if its class refuses it."""
    values = deepcopy(config.to_dict())
    if depth is not None and not _shorten(values, config, depth):
        return None
    head = _head_width(config)
    widths = {getattr(config, "attribute_map", {}).get("hidden_size", "hidden_size")}
    for key, value in values.items():
        if type(value) is not int:
            continue
        if key in widths or (_WIDTH.search(key) and not _NOT_A_WIDTH.search(key)):
            values[key] = max(1, value // divisor) if value >= divisor else value
    for inner in (value for value in values.values() if isinstance(value, dict)):
        for key, value in inner.items():  # factors of rotary frequencies
            if isinstance(value, list) and head and len(value) * 2 == head:
                inner[key] = value[: max(1, len(value) // divisor)]
    values |= _special_tokens(values)
    vocabulary = getattr(config, "attribute_map", {}).get("vocab_size", "vocab_size")
    if isinstance(values.get(vocabulary), int):
        values[vocabulary] = VOCABULARY
    values |= {"num_labels": LABELS, "use_cache": False}
    for key in ("id2label", "label2id", "_name_or_path", "dtype", "torch_dtype"):
        values.pop(key, None)
    try:
        with quiet():
            return type(config).from_dict(values)
    except Exception:  # its checks raise errors without a common base; another width may do
        return None


def _shorten(values: dict[str, Any], config: Any, depth: int) -> bool:
    """Keep the first layers of each stack; False if there are no more than these."""
    counts = {getattr(config, "attribute_map", {}).get(key, key) for key in LAYER_COUNTS}
    deep = {key: values[key] for key in counts if type(values.get(key)) is int}
    if not any(count > depth for count in deep.values()):
        return False
    lengths = set(deep.values())
    for key, value in values.items():
        if isinstance(value, list) and len(value) in lengths:
            values[key] = value[:depth]
    values |= {key: min(count, depth) for key, count in deep.items()}
    return True


def _head_width(config: Any) -> int | None:
    heads, width = (getattr(config, key, None) for key in ("num_attention_heads", "hidden_size"))
    given = getattr(config, "head_dim", None)
    if isinstance(given, int):
        return given
    return width // heads if isinstance(heads, int) and heads and isinstance(width, int) else None


def _special_tokens(values: dict[str, Any]) -> dict[str, Any]:
    """Ids of the special tokens within the small vocabulary: padding 0, end 1, the others apart."""
    small: dict[str, Any] = {}
    for key, value in values.items():
        if key.endswith("_token_id") and isinstance(value, int | list):
            small[key] = 3 + len(small) % (FIRST_WORD - 3)
    small |= {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    if "decoder_start_token_id" in values:
        small["decoder_start_token_id"] = 2
    return small
