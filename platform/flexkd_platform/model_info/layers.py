"""Which layers of a model a spec means."""

from __future__ import annotations

from ..plan import LayerRef, Stacks, layer_refs
from ..spec import Problem
from .errors import ModelError
from .facts import ModelFacts

Layer = int | str
"""A layer as specs name it: `last`, a number (negative from the end), or `decoder.-1`."""


def layer_index(layer: Layer, facts: ModelFacts | int) -> int:
    """The layer's place from 0; `last` is the final one, negative numbers count from the end.

    Args:
        layer: as in a spec, without a stack.
        facts: of the model, or how many layers it has.

    Raises:
        ModelError: there is no such layer.
    """
    count = facts if isinstance(facts, int) else facts.layers
    return int(_found(layer, (("", count),))[0])


def resolve_layers(layer: Layer, facts: ModelFacts) -> tuple[LayerRef, ...]:
    """The layers that a spec means by one name, see `layer_refs`.

    Raises:
        ModelError: there is no such layer.
    """
    return _found(layer, facts.stacks)


def check_layer(layer: Layer, facts: ModelFacts, *, path: str = "score.layer") -> list[Problem]:
    """The problem with a layer that a model does not have."""
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
