"""The hidden layers of a model, by their place."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from .errors import ModelError
from .facts import ModelFacts
from .families import family_of_config

Layer = Literal["last"] | int


def unwrapped(model: nn.Module) -> PreTrainedModel:
    """The model itself, out of its data-parallel wrapper."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def hidden_layers(model: nn.Module) -> list[nn.Module]:
    """The modules of a model's hidden layers, the one next to the embeddings first.

    Args:
        model: of any head, or none; a data-parallel wrapper is looked through.

    Raises:
        ModelError: the architecture is not in `FAMILIES`, or is an encoder-decoder.
    """
    inner = unwrapped(model)
    layers = inner.base_model.get_submodule(family_of_config(inner.config).layers)
    return list(layers.children())


def layer_index(layer: Layer, facts: ModelFacts | int) -> int:
    """The layer's place from 0; `last` is the final one, negative numbers count from the end.

    Args:
        layer: as in a spec.
        facts: of the model, or how many layers it has.

    Raises:
        ModelError: there is no such layer.
    """
    count = facts if isinstance(facts, int) else facts.layers
    index = count - 1 if layer == "last" else layer + count if layer < 0 else layer
    if not 0 <= index < count:
        raise ModelError(
            f"there is no layer {layer} in a model of {count}",
            f"layers are 0 to {count - 1}, -1 to -{count} from the end, or last",
        )
    return index
