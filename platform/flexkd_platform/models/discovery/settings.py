"""Find the settings of an architecture that act on a model: dropouts, and its longest input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from ...model_info.quiet import quiet
from ..config_keys import set_key
from .layers import words
from .small import FIRST_WORD, make_small

_NAMED = re.compile("dropout|pdrop|layerdrop")
_TRIED = 0.375  # a probability that no default is
_POSITIONS = 16  # a length that is tried
_BEYOND = 40


def find_dropouts(small: Any, autos: list[Any]) -> tuple[str, ...]:
    """Config keys of every dropout probability, dotted in a nested config.

    A key that is not named a dropout is one if it sets a probability of some module. Others count
    without: BigBird makes its attention's dropout in the first forward pass.
    """
    found = []
    for key in _dropout_keys(small):
        tried = deepcopy(small)
        try:
            set_key(tried, key, _TRIED)
            acts = any(_TRIED in _probabilities(auto, tried).values() for auto in autos)
        except Exception:  # a model may refuse a dropout, as MPT and DiffLlama that of attention
            continue
        if acts or _NAMED.search(key):
            found.append(key)
    return tuple(found)


def fixed_dropouts(small: Any, autos: list[Any], keys: tuple[str, ...]) -> list[str]:
    """Modules whose dropout stays above 0 when every key is 0."""
    off = deepcopy(small)
    for key in keys:
        set_key(off, key, 0.0)
    return sorted({name for auto in autos for name, p in _probabilities(auto, off).items() if p})


def find_positions(small: Any, pad: int) -> tuple[str | None, int]:
    """The config key of the longest input, and how many of its positions hold no token.

    RoBERTa's first ones are those up to the padding token's id. A model that reads longer inputs
    than it was trained on has `max_position_embeddings` all the same; other keys count if they
    limit the input.

    pad: id of the padding token of the model itself.
    """
    small = deepcopy(small)
    small.pad_token_id = pad if pad < FIRST_WORD else 0
    attributes = getattr(small, "attribute_map", {})
    usual = attributes.get("max_position_embeddings", "max_position_embeddings")
    keys = [key for key, value in small.to_dict().items() if _may_limit(key, value)]
    for key in sorted(keys, key=lambda key: key != usual):
        longest = _longest(small, key)
        if longest is not None:
            return key, _POSITIONS - longest
    return (usual if usual in keys else None), 0


def _may_limit(key: str, value: Any) -> bool:
    return type(value) is int and ("position" in key or key in ("max_seq_len", "n_ctx"))


def _longest(small: Any, key: str) -> int | None:
    """The most tokens that a model reads with 16 at this key; None without a limit."""
    tried = deepcopy(small)
    setattr(tried, key, _POSITIONS)
    try:
        model = make_small(AutoModel, tried)
    except Exception:  # a length that does not fit other settings; it is not the one looked for
        return None
    if _reads(model, _BEYOND) or not _reads(model, 2):
        return None
    return max(length for length in range(2, _POSITIONS + 2) if _reads(model, length))


def _reads(model: PreTrainedModel, length: int) -> bool:
    ids_BT = words(length, rows=1)
    inputs = {"input_ids": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids_BT
    try:
        with torch.no_grad():
            model(**inputs)
    except Exception:  # an index or a shape beyond a table
        return False
    return True


def _dropout_keys(config: Any) -> Iterator[str]:
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner, p in value.items() if _may_drop(inner, p))
        elif _may_drop(key, value):
            yield key


def _may_drop(key: str, value: Any) -> bool:
    return "drop" in str(key) and (value is None or type(value) in (int, float))


def _probabilities(auto: Any, config: Any) -> dict[str, float]:
    """Every dropout probability of a model's modules."""
    with quiet(), torch.device("meta"):
        model = auto.from_config(config)
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            found[f"{path}.p"] = module.p
        for name, value in vars(module).items():
            if "drop" in name and type(value) is float:
                found[f"{path}.{name}"] = value
    return found
