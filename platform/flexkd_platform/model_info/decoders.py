"""Decoders: the architectures that read a text from left to right, and continue it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .family import Family, Stack

_LLAMA: Mapping[str, Any] = {
    "stacks": {"": Stack("layers", inner="intermediate_size", norm="norm")},
    "head_reads": "last",
    "head": "score.weight",
    "dropouts": ("attention_dropout",),
    "language_model": "causal",
    "head_size": "head_dim",
    "key_value_heads": "num_key_value_heads",
}
"""The entry of Llama, from which those of its descendants differ in few fields."""

DECODERS: dict[str, Family] = {
    "gpt2": Family(
        stacks={"": Stack("h", inner="n_inner", norm="ln_f")},
        head_reads="last",
        head="score.weight",
        dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        language_model="causal",
    ),
    "gpt_neox": Family(
        stacks={"": Stack("layers", inner="intermediate_size", norm="final_layer_norm")},
        head_reads="last",
        head="score.weight",
        dropouts=("attention_dropout", "hidden_dropout", "classifier_dropout"),
        language_model="causal",
        output_names=("lm_head.weight", "embed_out.weight"),
    ),
    "opt": Family(
        stacks={
            "": Stack(
                "decoder.layers",
                inner="ffn_dim",
                # Its input is as wide as the layers; project_out, of some models, comes after it.
                norm="decoder.final_layer_norm",
                norm_if={"do_layer_norm_before": True, "_remove_final_layer_norm": False},
            )
        },
        head_reads="last",
        head="score.weight",
        dropouts=("dropout", "attention_dropout", "layerdrop"),
        language_model="causal",
        embedding_size="word_embed_proj_dim",
    ),
    "llama": Family(**_LLAMA),
    "mistral": Family(**_LLAMA),
    "qwen2": Family(**_LLAMA, per_layer=("layer_types",)),
    "qwen3": Family(**_LLAMA, per_layer=("layer_types",)),
    "gemma2": Family(**_LLAMA, per_layer=("layer_types",)),
    "gemma3_text": Family(**_LLAMA, per_layer=("layer_types",)),
    "phi3": Family(
        **{**_LLAMA, "dropouts": ("attention_dropout", "resid_pdrop", "embd_pdrop")},
    ),
    "smollm3": Family(**_LLAMA, per_layer=("layer_types", "no_rope_layers")),
}
"""By `model_type`."""
