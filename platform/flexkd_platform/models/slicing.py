"""A smaller copy of a model as pure indexing: which part of which weight goes where.

For each weight of the smaller model: the weight of the larger one it comes from, and along each
dimension the indices that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import Tensor

from .errors import ModelError
from .facts import head_size, inner_size
from .families import family_of_config

Axis = Literal["all", "hidden", "heads", "inner"]
"""What a dimension of a weight runs over: everything (words, positions), the residual stream,
the attention heads (each with its whole width), or the inner units of the feed-forward part."""

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

SLICES: dict[str, Slice] = {"bert": _BERT}
"""By `model_type`: name pattern of the backbone's weights, and the axis of each dimension.

The first pattern that fits counts. A fused weight, as GPT-2's query, key and value in one, needs
an axis of its own in `axis_indices`.
"""


@dataclass(frozen=True)
class Origin:
    """Where a smaller model's weight comes from.

    name: of the larger model's weight.
    axes: what each dimension runs over.
    """

    name: str
    axes: tuple[Axis, ...]


def evenly(kept: int, count: int) -> list[int]:
    """`kept` of `count` places, evenly spaced from place 0, in order."""
    assert 0 < kept <= count, (kept, count)
    return [place * count // kept for place in range(kept)]


def even_layers(kept: int, count: int) -> list[int]:
    """`kept` of `count` layers, evenly spaced up to and with the last one."""
    assert 0 < kept <= count, (kept, count)
    return [(place + 1) * count // kept - 1 for place in range(kept)]


def axis_indices(
    large: Any, small: Any, *, units: Literal["even", "first"]
) -> dict[Axis, Tensor | None]:
    """Indices of the larger model that are kept along each axis; None keeps all.

    Args:
        large, small: the two configs, of one architecture and one attention head size.
        units: which hidden units are kept; heads and inner units are always evenly spaced.
    """
    family = family_of_config(large)
    width, d_T, d_S = head_size(large, family), large.hidden_size, small.hidden_size
    assert width == head_size(small, family), "heads are kept whole"
    heads = evenly(small.num_attention_heads, large.num_attention_heads)
    return {
        "all": None,
        "hidden": torch.tensor(evenly(d_S, d_T) if units == "even" else range(d_S)),
        "heads": torch.tensor([head * width + unit for head in heads for unit in range(width)]),
        "inner": torch.tensor(evenly(inner_size(small, family), inner_size(large, family))),
    }


def origins(
    model_type: str, layers_path: str, names: list[str], kept_layers: list[int]
) -> dict[str, Origin]:
    """The origin of every weight of a smaller model's backbone.

    Args:
        model_type: a key of `SLICES`.
        layers_path: path of the list of layers in the backbone, as in its `Family`.
        names: the smaller backbone's weights.
        kept_layers: the larger model's layer for each of the smaller one's.

    Raises:
        ModelError: this architecture cannot be sliced.
    """
    if model_type not in SLICES:
        raise ModelError(
            f"a {model_type} model cannot be sliced",
            f"sliced works for {', '.join(SLICES)}; use random or pretrained",
        )
    found: dict[str, Origin] = {}
    for name in names:
        axes = next((a for p, a in SLICES[model_type].items() if fnmatchcase(name, p)), None)
        assert axes is not None, f"no rule covers {name}"
        source = name
        if name.startswith(f"{layers_path}."):
            layer, _, rest = name.removeprefix(f"{layers_path}.").partition(".")
            source = f"{layers_path}.{kept_layers[int(layer)]}.{rest}"
        found[name] = Origin(source, axes)
    return found


def sliced_weights(
    weights: Mapping[str, Tensor],
    sources: Mapping[str, Origin],
    indices: Mapping[Axis, Tensor | None],
) -> dict[str, Tensor]:
    """The smaller model's weights: copies of the kept parts of the larger one's."""
    sliced: dict[str, Tensor] = {}
    for name, origin in sources.items():
        part = weights[origin.name]
        assert part.ndim == len(origin.axes), f"{name}: {tuple(part.shape)} along {origin.axes}"
        for dimension, axis in enumerate(origin.axes):
            kept = indices[axis]
            if kept is not None:
                part = part.index_select(dimension, kept)
        sliced[name] = part.clone()
    return sliced
