"""The supported architectures, and what a config says of a model of one."""

from __future__ import annotations

import math
from typing import Any

from .decoders import DECODERS
from .encoder_decoders import ENCODER_DECODERS
from .encoders import ENCODERS
from .errors import ModelError
from .family import Family, HeadReads, Stack

FAMILIES: dict[str, Family] = {**ENCODERS, **DECODERS, **ENCODER_DECODERS}
"""Every known architecture; to add one, add an entry."""


def family_of(model_type: str) -> Family:
    """The entry of `FAMILIES` for a config's `model_type`; ModelError if it is unknown."""
    if model_type not in FAMILIES:
        raise unknown(model_type)
    return FAMILIES[model_type]


def unknown(model_type: str) -> ModelError:
    """The error of an architecture that neither `FAMILIES` nor transformers has."""
    return ModelError(
        f"unknown architecture {model_type!r}",
        f"known architectures are {', '.join(FAMILIES)}, and the other text models of transformers",
    )


def layer_count(config: Any, stack: Stack) -> int:
    """How many layers a stack has."""
    return int(getattr(config, stack.layers))


def final_norm(config: Any, stack: Stack) -> str | None:
    """Path of the norm that ends a stack, inside the backbone; None if the model has none."""
    exists = all(getattr(config, key) is value for key, value in stack.norm_if.items())
    return stack.norm if exists else None


def head_size(config: Any, stack: Stack) -> int:
    """Width of one attention head of a stack."""
    key = family_of(config.model_type).head_size
    own = None if key is None else getattr(config, key, None)
    return int(config.hidden_size // getattr(config, stack.heads) if own is None else own)


def inner_size(config: Any, stack: Stack) -> int:
    """Inner width of the feed-forward part of a stack's layers."""
    inner = getattr(config, stack.inner)
    return int(4 * config.hidden_size if inner is None else inner)


def embedding_size(config: Any) -> int:
    """Width of the word embedding, which a projection may connect to the layers."""
    key = family_of(config.model_type).embedding_size
    # DeBERTa's config has the key only where the width is another.
    return int(config.hidden_size if key is None else getattr(config, key, config.hidden_size))


def head_reads(config: Any, family: Family) -> HeadReads:
    """What the classification head of a model of this architecture reads."""
    if family.pooling is not None and getattr(config, family.pooling) == "mean":
        return "mean"
    return family.head_reads


def first_position(config: Any, family: Family) -> int:
    """The position of an input's first token."""
    given = family.first_position
    return int(config.pad_token_id + 1 if given == "pad" else given)


def width_step(config: Any) -> int:
    """The number that the width of a smaller model must be a multiple of, to keep heads whole.

    The number of heads scales with the width. If the heads' total width is not the hidden size, as
    in some T5 models, any width is allowed.
    """
    sizes = [
        size if size * getattr(config, stack.heads) == config.hidden_size else 1
        for stack in family_of(config.model_type).stacks.values()
        for size in [head_size(config, stack)]
    ]
    return math.lcm(*sizes)
