"""The hidden layers of a model, by stack and place.

A model of one stack numbers its layers from 0. Those of an encoder–decoder also say their stack:
`encoder.3`, `decoder.0`.
"""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from ..model_info.errors import ModelError
from ..model_info.families import family_of_config
from ..plan import LayerRef


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
