"""What each dimension of every weight runs over, by architecture."""

from __future__ import annotations

from typing import Literal

Axis = Literal[
    "all",
    "hidden",
    "embedding",
    "heads",
    "key_value",
    "fused",
    "interleaved",
    "grouped",
    "per_head",
    "inner",
    "gated",
]
"""What a dimension of a weight runs over.

    all: everything (words, positions, the width of one head)
    hidden: the residual stream
    embedding: the width of the word embedding, usually that of the residual stream
    heads: the attention heads, each with its whole width
    key_value: the same for keys and values
    fused: all queries, all keys, all values
    interleaved: head by head, its query, key and value
    grouped: all queries, and keys and values of fewer heads
    per_head: the heads, one number each
    inner: the inner units of the feed-forward part
    gated: its gates, and then its inner units
"""

Slice = dict[str, tuple[Axis, ...]]

_BERT: Slice = {
    "embeddings.*_embeddings.weight": ("all", "hidden"),
    "embeddings.LayerNorm.*": ("hidden",),
    "encoder.layer.*.attention.self.*.weight": ("heads", "hidden"),  # query, key, value
    "encoder.layer.*.attention.self.*.bias": ("heads",),
    "encoder.layer.*.attention.output.dense.weight": ("hidden", "heads"),
    "encoder.layer.*.attention.output.dense.bias": ("hidden",),
    "encoder.layer.*.LayerNorm.*": ("hidden",),
    "encoder.layer.*.intermediate.dense.weight": ("inner", "hidden"),
    "encoder.layer.*.intermediate.dense.bias": ("inner",),
    "encoder.layer.*.output.dense.weight": ("hidden", "inner"),
    "encoder.layer.*.output.dense.bias": ("hidden",),
    "pooler.dense.weight": ("hidden", "hidden"),
    "pooler.dense.bias": ("hidden",),
}

_DEBERTA: Slice = {
    **_BERT,
    "embeddings.*_embeddings.weight": ("all", "embedding"),
    "embeddings.embed_proj.weight": ("hidden", "embedding"),
    "embeddings.LayerNorm.*": ("hidden",),
    "encoder.layer.*.attention.self.*_proj.weight": ("heads", "hidden"),  # of positions, too
    "encoder.layer.*.attention.self.*_proj.bias": ("heads",),
    "encoder.rel_embeddings.weight": ("all", "hidden"),
    "encoder.conv.conv.weight": ("hidden", "hidden", "all"),
    "encoder.conv.conv.bias": ("hidden",),
    "encoder.*LayerNorm.*": ("hidden",),
}

_ELECTRA: Slice = {
    **_BERT,
    "embeddings.*_embeddings.weight": ("all", "embedding"),
    "embeddings.LayerNorm.*": ("embedding",),
    "embeddings_project.weight": ("hidden", "embedding"),
    "embeddings_project.bias": ("hidden",),
}

_MPNET: Slice = {
    **_BERT,
    "encoder.relative_attention_bias.weight": ("all", "per_head"),
    "encoder.layer.*.attention.attn.o.weight": ("hidden", "heads"),
    "encoder.layer.*.attention.attn.o.bias": ("hidden",),
    "encoder.layer.*.attention.attn.?.weight": ("heads", "hidden"),  # q, k, v
    "encoder.layer.*.attention.attn.?.bias": ("heads",),
}

_DISTILBERT: Slice = {
    "embeddings.*_embeddings.weight": ("all", "hidden"),
    "embeddings.LayerNorm.*": ("hidden",),
    "transformer.layer.*.attention.out_lin.weight": ("hidden", "heads"),
    "transformer.layer.*.attention.out_lin.bias": ("hidden",),
    "transformer.layer.*.attention.*_lin.weight": ("heads", "hidden"),  # q, k, v
    "transformer.layer.*.attention.*_lin.bias": ("heads",),
    "transformer.layer.*_layer_norm.*": ("hidden",),
    "transformer.layer.*.ffn.lin1.weight": ("inner", "hidden"),
    "transformer.layer.*.ffn.lin1.bias": ("inner",),
    "transformer.layer.*.ffn.lin2.weight": ("hidden", "inner"),
    "transformer.layer.*.ffn.lin2.bias": ("hidden",),
}

# The first layer has no attn_norm: the norm of the embeddings is its.
_MODERNBERT: Slice = {
    "embeddings.tok_embeddings.weight": ("all", "hidden"),
    "*norm.*": ("hidden",),
    "layers.*.attn.Wqkv.weight": ("fused", "hidden"),
    "layers.*.attn.Wqkv.bias": ("fused",),
    "layers.*.attn.Wo.weight": ("hidden", "heads"),
    "layers.*.attn.Wo.bias": ("hidden",),
    "layers.*.mlp.Wi.weight": ("gated", "hidden"),
    "layers.*.mlp.Wi.bias": ("gated",),
    "layers.*.mlp.Wo.weight": ("hidden", "inner"),
    "layers.*.mlp.Wo.bias": ("hidden",),
}

# Its linear maps are stored transposed: inputs first.
_GPT2: Slice = {
    "wte.weight": ("all", "hidden"),
    "wpe.weight": ("all", "hidden"),
    "h.*.ln_*": ("hidden",),
    "h.*.attn.c_attn.weight": ("hidden", "fused"),
    "h.*.attn.c_attn.bias": ("fused",),
    "h.*.attn.c_proj.weight": ("heads", "hidden"),
    "h.*.mlp.c_fc.weight": ("hidden", "inner"),
    "h.*.mlp.c_fc.bias": ("inner",),
    "h.*.mlp.c_proj.weight": ("inner", "hidden"),
    "h.*.c_proj.bias": ("hidden",),
    "ln_f.*": ("hidden",),
    "lm_head.weight": ("all", "hidden"),
}

_GPT_NEOX: Slice = {
    "embed_in.weight": ("all", "hidden"),
    "*norm.*": ("hidden",),
    "layers.*.attention.query_key_value.weight": ("interleaved", "hidden"),
    "layers.*.attention.query_key_value.bias": ("interleaved",),
    "layers.*.attention.dense.weight": ("hidden", "heads"),
    "layers.*.attention.dense.bias": ("hidden",),
    "layers.*.mlp.dense_h_to_4h.weight": ("inner", "hidden"),
    "layers.*.mlp.dense_h_to_4h.bias": ("inner",),
    "layers.*.mlp.dense_4h_to_h.weight": ("hidden", "inner"),
    "layers.*.mlp.dense_4h_to_h.bias": ("hidden",),
    "lm_head.weight": ("all", "hidden"),
}

# OPT and BART use the same names for the parts of a layer.
_FAIRSEQ_LAYER: Slice = {
    "*.embed_positions.weight": ("all", "hidden"),
    "*_attn.out_proj.weight": ("hidden", "heads"),
    "*_attn.out_proj.bias": ("hidden",),
    "*_attn.?_proj.weight": ("heads", "hidden"),
    "*_attn.?_proj.bias": ("heads",),
    "*_norm.*": ("hidden",),
    "*.fc1.weight": ("inner", "hidden"),
    "*.fc1.bias": ("inner",),
    "*.fc2.weight": ("hidden", "inner"),
    "*.fc2.bias": ("hidden",),
}

_OPT: Slice = {
    "decoder.embed_tokens.weight": ("all", "embedding"),
    "decoder.project_in.weight": ("hidden", "embedding"),
    "decoder.project_out.weight": ("embedding", "hidden"),
    "lm_head.weight": ("all", "embedding"),
    **_FAIRSEQ_LAYER,
}

_LLAMA: Slice = {
    "embed_tokens.weight": ("all", "hidden"),
    "layers.*.self_attn.q_proj.weight": ("heads", "hidden"),
    "layers.*.self_attn.q_proj.bias": ("heads",),
    "layers.*.self_attn.o_proj.weight": ("hidden", "heads"),
    "layers.*.self_attn.o_proj.bias": ("hidden",),
    "layers.*.self_attn.?_proj.weight": ("key_value", "hidden"),
    "layers.*.self_attn.?_proj.bias": ("key_value",),
    "layers.*.mlp.down_proj.weight": ("hidden", "inner"),
    "layers.*.mlp.down_proj.bias": ("hidden",),
    "layers.*.mlp.*_proj.weight": ("inner", "hidden"),  # gate, up
    "layers.*.mlp.*_proj.bias": ("inner",),
    "*norm.weight": ("hidden",),
    "lm_head.weight": ("all", "hidden"),
}

# Of Qwen 3 and Gemma 3: a norm of each head's queries and keys, over the width of one head.
_NORMED_HEADS: Slice = {"layers.*.self_attn.?_norm.weight": ("all",), **_LLAMA}

_PHI3: Slice = {
    "layers.*.self_attn.qkv_proj.weight": ("grouped", "hidden"),
    "layers.*.mlp.gate_up_proj.weight": ("gated", "hidden"),
    **_LLAMA,
}

_BART: Slice = {
    "shared.weight": ("all", "hidden"),
    "*.embed_tokens.weight": ("all", "hidden"),
    "*.layernorm_embedding.*": ("hidden",),
    "lm_head.weight": ("all", "hidden"),
    "final_logits_bias": ("all", "all"),
    **_FAIRSEQ_LAYER,
}

_T5: Slice = {
    "shared.weight": ("all", "hidden"),
    "*.embed_tokens.weight": ("all", "hidden"),
    "*.relative_attention_bias.weight": ("all", "per_head"),
    "*Attention.o.weight": ("hidden", "heads"),
    "*Attention.?.weight": ("heads", "hidden"),  # q, k, v
    "*.wo.weight": ("hidden", "inner"),
    "*.wi*.weight": ("inner", "hidden"),
    "*layer_norm.weight": ("hidden",),
    "lm_head.weight": ("all", "hidden"),
}

SLICES: dict[str, Slice] = {
    "bert": _BERT,
    "distilbert": _DISTILBERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "deberta-v2": _DEBERTA,
    "electra": _ELECTRA,
    "mpnet": _MPNET,
    "modernbert": _MODERNBERT,
    "gpt2": _GPT2,
    "gpt_neox": _GPT_NEOX,
    "opt": _OPT,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _NORMED_HEADS,
    "gemma2": _LLAMA,
    "gemma3_text": _NORMED_HEADS,
    "phi3": _PHI3,
    "smollm3": _LLAMA,
    "bart": _BART,
    "t5": _T5,
    "mt5": _T5,
}
"""By `model_type`: name pattern of the weights, and the axis of each dimension.

Names are those in the backbone, and those of the language-model head. The first matching pattern
is used.
"""
