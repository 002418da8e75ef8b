"""The config of a tiny model of every verified architecture, and of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ENCODER = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 36,
}
_DECODER = {**_ENCODER, "num_key_value_heads": 2}
_T5 = {
    "d_model": 16,
    "num_layers": 3,
    "num_decoder_layers": 3,
    "num_heads": 4,
    "d_kv": 6,
    "d_ff": 32,
}
_WINDOW = {"sliding_window": 4}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention"]

SIZES: dict[str, dict[str, Any]] = {
    "bert": _ENCODER,
    "distilbert": {
        "dim": 16,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 32,
        "max_position_embeddings": 36,
    },
    "roberta": _ENCODER,
    "xlm-roberta": _ENCODER,
    "deberta-v2": {
        **_ENCODER,
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "position_buckets": 4,
        "position_biased_input": False,
        "share_att_key": True,
        "type_vocab_size": 0,
    },
    "electra": {**_ENCODER, "embedding_size": 8},
    "albert": {**_ENCODER, "embedding_size": 8},
    "mpnet": _ENCODER,
    "modernbert": {**_ENCODER, "layer_types": _MIXED[::-1][:2] + _MIXED[:1], "local_attention": 4},
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 36},
    "gpt_neox": {
        **_ENCODER,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.5,
        },
    },
    "opt": {
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 32,
        "word_embed_proj_dim": 16,
        "max_position_embeddings": 36,
    },
    "llama": _DECODER,
    "mistral": {**_DECODER, **_WINDOW},
    "qwen2": {**_DECODER, **_WINDOW, "use_sliding_window": True, "layer_types": _MIXED},
    "qwen3": {**_DECODER, "head_dim": 6},
    "gemma2": {**_DECODER, **_WINDOW, "head_dim": 6, "final_logit_softcapping": 2.0},
    "gemma3_text": {
        **_DECODER,
        **_WINDOW,
        "head_dim": 6,
        "layer_types": _MIXED,
        "final_logit_softcapping": 3.0,
    },
    "phi3": {**_DECODER, **_WINDOW},
    "smollm3": {**_DECODER, "no_rope_layers": [1, 0, 1]},
    "bart": {
        "d_model": 16,
        "encoder_layers": 3,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 36,
    },
    "t5": _T5,
    "mt5": {**_T5, "tie_word_embeddings": False},
}
"""By `model_type`: 3 layers, 4 heads, 2 key-value heads where they are grouped."""

VARIANTS: dict[str, Mapping[str, Any]] = {
    **{kind: {} for kind in SIZES},
    "deberta-v2 as v2": {
        "share_att_key": False,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
        "type_vocab_size": 2,
        "position_biased_input": True,
    },
    "deberta-v2 projected": {"embedding_size": 8},
    "electra unprojected": {"embedding_size": 16},
    "modernbert mean": {"classifier_pooling": "mean", "norm_bias": True, "attention_bias": True},
    "gpt_neox sequential": {"use_parallel_residual": False, "tie_word_embeddings": True},
    "opt projected": {"word_embed_proj_dim": 6},
    "opt after": {"do_layer_norm_before": False},
    "llama tied": {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    "mistral wide heads": {"head_dim": 6},
    "qwen3 tied": {"tie_word_embeddings": True, "attention_bias": True},
    "gemma3_text uncapped": {"final_logit_softcapping": None},
    "smollm3 untied": {"tie_word_embeddings": False},
    "bart scaled": {"scale_embedding": True},
    "t5 gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
"""By `model_type` and what is special: settings in addition to those of `SIZES`."""


def kind_of(variant: str) -> str:
    """The `model_type` of a variant."""
    return variant.split()[0]
