"""A smaller copy of a model as pure indexing: which part of which weight goes where.

For each weight of the smaller model: the weight of the larger one it comes from, and along each
dimension the indices that are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from ..model_info.families import (
    embedding_size,
    family_of,
    head_size,
    inner_size,
)
from ..spec.student import evenly
from .slices import SLICES, Axis

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
    family = family_of(large.model_type)
    hidden = torch.tensor(units)
    # An embedding of a different width is connected to the layers by projections.
    own = embedding_size(large) != large.hidden_size
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
        rows, pairs = _whole(heads, width), _whole(key_values, width)
        # After the queries of all heads come the keys and the values, of as many heads or fewer.
        held = width * (
            count if family.key_value_heads is None else getattr(large, family.key_value_heads)
        )
        inner = torch.tensor(evenly(inner_size(small, stack), inner_size(large, stack)))
        indices[name] = {
            "all": None,
            "hidden": hidden,
            "embedding": None if own else hidden,
            "heads": rows,
            "key_value": pairs,
            "fused": torch.cat([rows + part * count * width for part in range(3)]),
            "interleaved": _whole(heads, 3 * width),
            "grouped": torch.cat([rows, count * width + pairs, count * width + held + pairs]),
            "per_head": torch.tensor(heads),
            "inner": inner,
            "gated": torch.cat([inner, inner_size(large, stack) + inner]),
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
