"""The hidden layers of a model, by stack and place.

A model of one stack numbers its layers from 0. Those of an encoder–decoder also say their stack:
`encoder.3`, `decoder.0`.
"""

from __future__ import annotations

import re

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from .errors import ModelError
from .facts import ModelFacts
from .families import family_of_config

Layer = int | str
"""A layer as specs name it: `last`, a number (negative from the end), or `decoder.-1`."""

LayerRef = int | str
"""One layer of one model: its place from 0, of an encoder–decoder as `decoder.3`."""

_OF_STACK = re.compile(r"(\w+)\.(last|-?\d+)")


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model itself, out of its data-parallel wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def stacks(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules of a model's hidden layers by stack, those next to the embeddings first.

    Args:
        model: of any head, or none; a data-parallel wrapper is looked through.

    Returns:
        One stack under "", or those of an encoder–decoder under `encoder` and `decoder`.

    Raises:
        ModelError: the architecture is not in `FAMILIES`.
    """
    inner = unwrapped(model)
    return {
        name: list(inner.base_model.get_submodule(stack.path).children())
        for name, stack in family_of_config(inner.config).stacks.items()
    }


def hidden_layers(model: nn.Module) -> list[nn.Module]:
    """The hidden layers of a model of one stack; arguments as of `stacks`.

    Raises:
        ModelError: the architecture is unknown, or an encoder–decoder, which has two stacks.
    """
    found = stacks(model)
    if "" not in found:
        raise ModelError(
            f"{unwrapped(model).config.model_type} models have an encoder and a decoder, which "
            "have layers of their own",
            "name one of their layers, as decoder.-1",
        )
    return found[""]


def hidden_layer(model: nn.Module, ref: LayerRef) -> nn.Module:
    """The module of one layer, as `resolve_layers` names it; a wrapper is looked through."""
    stack, _, place = str(ref).rpartition(".")
    return stacks(model)[stack][int(place)]


def layer_index(layer: Layer, facts: ModelFacts | int) -> int:
    """The layer's place from 0; `last` is the final one, negative numbers count from the end.

    Args:
        layer: as in a spec, without a stack.
        facts: of the model, or how many layers it has.

    Raises:
        ModelError: there is no such layer.
    """
    count = facts if isinstance(facts, int) else facts.layers
    allowed = f"layers are 0 to {count - 1}, -1 to -{count} from the end, or last"
    if isinstance(layer, str) and layer != "last":
        raise ModelError(f"there is no layer {layer} in a model of one stack", allowed)
    index = count - 1 if layer == "last" else int(layer) + count if int(layer) < 0 else int(layer)
    if not 0 <= index < count:
        raise ModelError(f"there is no layer {layer} in a model of {count}", allowed)
    return index


def resolve_layers(layer: Layer, facts: ModelFacts) -> tuple[LayerRef, ...]:
    """The layers that a spec means by one name.

    Args:
        layer: `last`, or a number: the one of a model of one stack, and that of either stack of
            an encoder–decoder. `encoder.3` and `decoder.-1` name one of an encoder–decoder.
        facts: of the model.

    Returns:
        One layer, or one per stack, encoder first; counted from 0.

    Raises:
        ModelError: there is no such layer.
    """
    if not facts.encoder_decoder:
        return (layer_index(layer, facts),)
    counts = dict(facts.stacks)
    chosen = list(counts)
    place = str(layer)
    if (named := _OF_STACK.fullmatch(place)) and named[1] in counts:
        chosen, place = [named[1]], named[2]
    refs: list[LayerRef] = []
    for stack in chosen:
        try:
            refs.append(f"{stack}.{layer_index(_number(place), counts[stack])}")
        except ModelError:
            spans = (f"{name}.0 to {name}.{count - 1}" for name, count in counts.items())
            raise ModelError(
                f"there is no layer {layer} in this model of two stacks",
                f"layers are {' and '.join(spans)}, each also from the end, as {stack}.-1; a "
                "number alone, or last, means one of each stack",
            ) from None
    return tuple(refs)


def _number(place: str) -> Layer:
    return int(place) if place.removeprefix("-").isdigit() else place
