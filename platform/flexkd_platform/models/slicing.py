"""A smaller copy of a model as pure indexing: which part of which weight goes where.

For each weight of the smaller model: the weight of the larger one it comes from, and along each
dimension the indices that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor

from ..model_info.families import family_of, family_of_config, head_size, inner_size
from ..spec.student import evenly

Axis = Literal["all", "hidden", "embedding", "heads", "key_value", "fused", "per_head", "inner"]
"""What a dimension of a weight runs over: everything (words, positions); the residual stream; the
width of the word embedding, usually that of the residual stream; the attention heads, each with its
whole width; the same for keys and values; query, key and value fused; the heads, one number each;
the inner units of the feed-forward part."""

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
    "gpt2": _GPT2,
    "opt": _OPT,
    "llama": _LLAMA,
    "bart": _BART,
    "t5": _T5,
}
"""By `model_type`: name pattern of the weights, and the axis of each dimension.

Names are those in the backbone, and those of the language-model head. The first matching pattern
is used.
"""

FIRST_LAYER_ONLY = "relative_attention_bias"
"""Weights of T5 that each stack has in its first layer only, and all its layers use."""


@dataclass(frozen=True)
class Origin:
    """Where a smaller model's weight comes from.

    name: of the larger model's weight.
    axes: what each dimension runs over.
    stack: the stack with these heads and inner units; any stack for weights outside of them.
    """

    name: str
    axes: tuple[Axis, ...]
    stack: str


Indices = Mapping[Axis, Tensor | None]
"""Indices that are kept along each axis; None keeps all."""


def even_layers(kept: int, count: int) -> list[int]:
    """`kept` of `count` layers, evenly spaced up to and including the last one."""
    assert 0 < kept <= count, (kept, count)
    return [(place + 1) * count // kept - 1 for place in range(kept)]


def axis_indices(large: Any, small: Any, units: Sequence[int]) -> dict[str, Indices]:
    """Indices of the larger model that are kept along each axis, by stack.

    Args:
        large, small: the two configs, of one architecture and one attention head size.
        units: hidden units of the larger model, in the order they have in the smaller one; heads
            and inner units are always evenly spaced. The stacks of an encoder–decoder use the same
            units: they share the word embedding, and the decoder reads the encoder's hidden units.
    """
    family = family_of_config(large)
    hidden = torch.tensor(units)
    # An embedding of a different width is connected to the layers by projections.
    own = family.embedding_size is not None and _width_of_its_own(large, family.embedding_size)
    indices: dict[str, Indices] = {}
    for name, stack in family.stacks.items():
        width, count = head_size(large, stack), getattr(large, stack.heads)
        assert width == head_size(small, stack), "heads are kept whole"
        kept = getattr(small, stack.heads)
        heads, key_values = evenly(kept, count), evenly(kept, count)
        if family.key_value_heads is not None:
            heads, key_values = kept_groups(
                (kept, getattr(small, family.key_value_heads)),
                (count, getattr(large, family.key_value_heads)),
            )
        rows = _whole(heads, width)
        indices[name] = {
            "all": None,
            "hidden": hidden,
            "embedding": None if own else hidden,
            "heads": rows,
            "key_value": _whole(key_values, width),
            "fused": torch.cat([rows + part * count * width for part in range(3)]),
            "per_head": torch.tensor(heads),
            "inner": torch.tensor(evenly(inner_size(small, stack), inner_size(large, stack))),
        }
    return indices


def kept_groups(small: tuple[int, int], large: tuple[int, int]) -> tuple[list[int], list[int]]:
    """Which query heads and key-value heads are kept in grouped-query attention.

    A key-value head is kept with query heads of its own group, with all of them if the numbers
    allow it.

    Args:
        small, large: numbers of query heads and of key-value heads of each model.

    Returns:
        Indices of the query heads, and of the key-value heads, in order.
    """
    size, kept = large[0] // large[1], small[0] // small[1]
    groups = evenly(small[1], large[1])
    return [group * size + query for group in groups for query in evenly(kept, size)], groups


def origins(
    model_type: str, names: Iterable[str], kept_layers: Mapping[str, Sequence[int]]
) -> dict[str, Origin]:
    """The origin of every weight of a smaller model.

    Args:
        model_type: a key of `SLICES`.
        names: the smaller model's weights, without the backbone's prefix.
        kept_layers: by stack, the larger model's layer for each of the smaller one's.
    """
    stacks = family_of(model_type).stacks
    found: dict[str, Origin] = {}
    for name in names:
        axes = next((a for p, a in SLICES[model_type].items() if fnmatchcase(name, p)), None)
        assert axes is not None, f"no rule covers {name}"
        origin = Origin(name, axes, next(iter(stacks)))
        for key, stack in stacks.items():
            if name.startswith(f"{stack.path}."):
                layer, _, rest = name.removeprefix(f"{stack.path}.").partition(".")
                source = 0 if FIRST_LAYER_ONLY in name else kept_layers[key][int(layer)]
                origin = Origin(f"{stack.path}.{source}.{rest}", axes, key)
        found[name] = origin
    return found


def sliced_weights(
    weights: Mapping[str, Tensor],
    sources: Mapping[str, Origin],
    indices: Mapping[str, Indices],
) -> dict[str, Tensor]:
    """The smaller model's weights: copies of the kept parts of the larger one's."""
    sliced: dict[str, Tensor] = {}
    for name, origin in sources.items():
        part = weights[origin.name]
        assert part.ndim == len(origin.axes), f"{name}: {tuple(part.shape)} along {origin.axes}"
        for dimension, axis in enumerate(origin.axes):
            kept = indices[origin.stack][axis]
            if kept is not None:
                part = part.index_select(dimension, kept)
        sliced[name] = part.clone()
    return sliced


def _whole(heads: Sequence[int], width: int) -> Tensor:
    """The rows of the given heads, each with its whole width."""
    return torch.tensor([head * width + unit for head in heads for unit in range(width)])


def _width_of_its_own(config: Any, key: str) -> bool:
    return int(getattr(config, key)) != int(config.hidden_size)
