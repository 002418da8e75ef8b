"""The hidden layers of a model, by stack and index.

The layers of a model with one stack are numbered from 0. Those of an encoder–decoder are prefixed
with their stack: `encoder.3`, `decoder.0`. `last` is the norm that ends a stack.
"""

from __future__ import annotations

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from ..model_info.errors import ModelError
from ..model_info.families import final_norm
from ..plan import LayerRef
from .family import family_of_config
from .shared_layer import shared_layer


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model itself, without its data-parallel wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def stacks(model: nn.Module) -> dict[str, list[nn.Module]]:
    """The modules of a model's hidden layers by stack, those next to the embeddings first.

    Args:
        model: with any head, or none; it may be in a data-parallel wrapper.

    Returns:
        One stack under "", or those of an encoder–decoder under `encoder` and `decoder`. A module
        that is applied as several layers is there once.

    Raises:
        ModelError: the architecture is unknown.
    """
    inner = unwrapped(model)
    return {
        name: list(inner.base_model.get_submodule(stack.path).children())
        for name, stack in family_of_config(inner.config).stacks.items()
    }


def hidden_layers(model: nn.Module) -> list[nn.Module]:
    """The hidden layers of a model with one stack; arguments as in `stacks`.

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
    """The module whose output a name from `resolve_layers` means; the model may be wrapped.

    A number is a block. `last` is the final norm, whose output is `hidden_states[-1]` of Hugging
    Face models, as wide as the blocks' outputs: a projection that follows it, which some OPT models
    have, is not applied, nor is T5's dropout while training.

    Raises:
        ModelError: `last` of a stack without a final norm, which resolves to a number.
    """
    name, _, place = str(ref).rpartition(".")
    inner = unwrapped(model)
    if place != "last":
        stack = family_of_config(inner.config).stacks[name]
        if stack.groups is not None:
            return shared_layer(inner, stack, int(place))
        if stack.after_first is not None and int(place) == 0:
            after, key = stack.after_first
            if getattr(inner.config, key, 0):
                module: nn.Module = inner.base_model.get_submodule(after)
                return module
        return stacks(model)[name][int(place)]
    path = final_norm(inner.config, family_of_config(inner.config).stacks[name])
    if path is None:
        raise ModelError(
            f"no norm follows the last layer of this {inner.config.model_type} model",
            "name its last layer by its number",
        )
    norm: nn.Module = inner.base_model.get_submodule(path)
    return norm
