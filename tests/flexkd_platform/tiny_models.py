"""Tiny models of architectures without an entry, saved as people save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordLevel
from torch import nn
from transformers import AutoConfig, PreTrainedTokenizerFast

from flexkd_platform.model_info.quiet import quiet

from .worlds import WORDS

SIZES: dict[str, int] = {
    "hidden_size": 16,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "num_key_value_heads": 2,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "ffn_dim": 32,
    "word_embed_proj_dim": 16,
    "d_ff": 32,
    "d_kv": 4,
    "head_dim": 4,
    "rotary_dim": 2,
    "embedding_size": 16,
    "vocab_size": 60,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
}


def config_of(model_type: str, **values: Any) -> Any:
    """A tiny config: the sizes above by the names that the architecture has for them."""
    default = AutoConfig.for_model(model_type)
    names, own = getattr(default, "attribute_map", {}), default.to_dict()
    sizes = {names.get(key, key): size for key, size in SIZES.items()}
    used = {key: size for key, size in sizes.items() if own.get(key) is not None or "token" in key}
    return AutoConfig.for_model(model_type, **{**used, **values})


OWN: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local", "global"], 1]]}
}
"""Settings without which a tiny config is not valid."""


SPECIAL = ["<pad>", "</s>", "<s>", "<unk>"]
FILLER = [f"w{number}" for number in range(56 - len(WORDS))]


def saved(folder: Path, model_type: str, auto: Any, **values: Any) -> Path:
    """A tiny random model and a tokenizer of its 60 words."""
    config = config_of(model_type, **{**OWN.get(model_type, {}), **values})
    if config.is_encoder_decoder:
        config.decoder_start_token_id = 2
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(1)
        model = auto.from_config(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, std=0.3)
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


def tokenizer() -> Any:
    words = {word: place for place, word in enumerate(SPECIAL + WORDS + FILLER)}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )
