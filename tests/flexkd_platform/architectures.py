"""The config of a tiny model of every verified architecture, and of its variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flexkd_platform.model_info import FAMILIES

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
    "electra": {**_ENCODER, "embedding_size": 6},
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
    "deberta-v2 projected": {"embedding_size": 6},
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


NAMES: dict[str, str] = {
    "bert": "BERT",
    "distilbert": "DistilBERT",
    "roberta": "RoBERTa",
    "xlm-roberta": "XLM-R",
    "deberta-v2": "DeBERTa v2, v3",
    "electra": "ELECTRA",
    "albert": "ALBERT",
    "mpnet": "MPNet",
    "modernbert": "ModernBERT",
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX, Pythia",
    "opt": "OPT",
    "llama": "Llama 2, 3",
    "mistral": "Mistral",
    "qwen2": "Qwen 2, 2.5",
    "qwen3": "Qwen 3",
    "gemma2": "Gemma 2",
    "gemma3_text": "Gemma 3 (text)",
    "phi3": "Phi-3",
    "smollm3": "SmolLM3",
    "bart": "BART",
    "t5": "T5, Flan-T5",
    "mt5": "mT5",
}
"""By `model_type`: the models that are published under it."""

ROLES = ("teacher", "pretrained", "sliced", "aligned", "random")
"""What a model is in a job: its teacher, or where its student comes from."""


def tasks_of(kind: str) -> tuple[str, ...]:
    """The tasks that an architecture is tried on."""
    family = FAMILIES[kind]
    if family.encoder_decoder:
        return ("summarization",)
    return ("classification", "instruction") if family.language_model else ("classification",)


def roles_of(kind: str, task: str) -> tuple[str, ...]:
    """The roles that an architecture is tried in on a task.

    A decoder is cut for instructions, its backbone being the same in a classifier.
    """
    family = FAMILIES[kind]
    if family.not_cut is not None:
        return ("teacher", "pretrained", "random")
    if family.language_model and task == "classification":
        return ("teacher", "pretrained", "sliced")
    return ROLES


CASES = [
    (kind, task, role) for kind in NAMES for task in tasks_of(kind) for role in roles_of(kind, task)
]
"""Which architecture is run as what, and on which task."""


def table() -> str:
    """The cases as a table in Markdown, one row for each architecture, tasks by their initials."""
    head = ("models", "`model_type`", *ROLES)
    lines = [head, ["---"] * len(head)]
    for kind, name in NAMES.items():
        run = {role: [task for k, task, r in CASES if (k, r) == (kind, role)] for role in ROLES}
        cells = [", ".join(task[0].upper() for task in run[role]) or "refused" for role in ROLES]
        lines.append((name, f"`{kind}`", *cells))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
