"""Resolve the names of layers in a spec to layers of a model."""

from __future__ import annotations

from ..plan import LayerRef, Stacks, StackShape, layer_refs
from ..spec import Problem
from .errors import ModelError
from .facts import ModelFacts

Layer = int | str
"""A layer in a spec: `last`, a number (negative counts from the end), or `decoder.last`."""


def layer_index(layer: Layer, facts: ModelFacts | int) -> int:
    """The block's index from 0; `last` is the final one, negative numbers count from the end.

    Args:
        layer: as in a spec, without a stack.
        facts: of the model, or its number of layers.

    Raises:
        ModelError: the layer does not exist.
    """
    count = facts if isinstance(facts, int) else facts.layers
    return int(_found(layer, (StackShape("", count, final_norm=False),))[0])


def resolve_layers(layer: Layer, facts: ModelFacts) -> tuple[LayerRef, ...]:
    """The layers that a name in a spec selects, see `layer_refs`.

    Raises:
        ModelError: the layer does not exist.
    """
    return _found(layer, facts.stacks)


def check_layer(layer: Layer, facts: ModelFacts, *, path: str = "score.layer") -> list[Problem]:
    """A problem if the model does not have the layer."""
    try:
        resolve_layers(layer, facts)
    except ModelError as error:
        return [Problem(path, error.message, error.remedy)]
    return []


def _found(layer: Layer, stacks: Stacks) -> tuple[LayerRef, ...]:
    try:
        return layer_refs(layer, stacks)
    except ValueError as error:
        what, _, remedy = str(error).partition("; ")
        raise ModelError(what, remedy) from None
