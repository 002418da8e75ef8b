"""Create a model from a config alone: random weights, and a tokenizer trained on the texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, PreTrainedTokenizerFast

from ..model_info.quiet import quiet
from .base_tokenizer import template_of, train_tokenizer
from .check_config import config_from
from .config_facts import longest_input
from .family import family_of_config
from .language_model import language_model_class
from .random_state import kept_random_state
from .saving import save_model

DECODER_START = {"bart": "eos", "t5": "pad", "mt5": "pad"}
"""The token that an encoder–decoder's decoder starts from; padding for other architectures."""


def make_base(
    values: Mapping[str, Any],
    vocab_size: int,
    texts: Iterable[str],
    seed: int,
    folder: Path,
    *,
    language_model: bool,
) -> None:
    """Write a new model and its tokenizer to a folder that the loading functions read.

    The same arguments give the same bytes, and global random state is unchanged.

    Args:
        values, vocab_size: checked by `check_config`. If the texts give fewer tokens, the rest of
            the embedding's rows are padding.
        texts: to train the tokenizer on.
        seed: of the weights.
        folder: created if missing.
        language_model: whether it gets a language-model head.

    Raises:
        ModelError: the config's architecture is unknown, or cannot generate text.
    """
    config, tokenizer = _config_and_tokenizer(values, vocab_size, texts)
    for role in ("pad", "bos", "eos"):
        setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    for role in ("cls", "sep"):
        if f"{role}_token_id" in config.to_dict():  # ModernBERT's
            setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
    if config.is_encoder_decoder:
        start = DECODER_START.get(config.model_type, "pad")
        config.decoder_start_token_id = getattr(tokenizer, f"{start}_token_id")
    if config.model_type == "bart":
        config.forced_eos_token_id = config.eos_token_id
    auto = language_model_class(config) if language_model else AutoModel
    with quiet(), kept_random_state(seed):
        model = auto.from_config(config, dtype=torch.float32)
    save_model(model, tokenizer, folder)


def make_base_tokenizer(
    values: Mapping[str, Any], vocab_size: int, texts: Iterable[str]
) -> PreTrainedTokenizerFast:
    """The tokenizer that `make_base` trains with the same arguments."""
    return _config_and_tokenizer(values, vocab_size, texts)[1]


def _config_and_tokenizer(
    values: Mapping[str, Any], vocab_size: int, texts: Iterable[str]
) -> tuple[Any, PreTrainedTokenizerFast]:
    config = config_from(values, vocab_size)
    like = template_of(config.model_type, family_of_config(config))
    return config, train_tokenizer(texts, vocab_size, like, longest_input(config))
