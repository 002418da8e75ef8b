"""Names of layers in a spec."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from .pattern import Pattern

NAME = r"^((encoder|decoder)\.-?\d+|((encoder|decoder)\.)?last)$"
"""Pattern of a layer that is not a plain number."""


def _known(layer: int | str) -> int | str:
    if isinstance(layer, str) and not re.fullmatch(NAME, layer):
        raise ValueError(f"unknown layer {layer!r}; give last, a number, or decoder.last")
    return layer


Layer = Annotated[
    int | str,
    AfterValidator(_known),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string", "pattern": NAME}],
            "description": "last, a number, or decoder.last",
        }
    ),
]
"""`last` is the hidden state that the head reads; a number is a block's output, negative from the
end. An encoder–decoder also has names for one stack: `decoder.last`, `decoder.-1`."""


def _text_keys(value: Any) -> Any:
    """Convert the keys of YAML's `{0: 2}` to strings, as JSON has them."""
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


LayerMap = Annotated[
    dict[
        Annotated[
            str,
            Pattern(r"^((encoder|decoder)\.)?(last|-?\d+)$", "last, a number, or decoder.last"),
        ],
        Layer,
    ],
    Field(min_length=1),
    BeforeValidator(_text_keys),
]
"""Student layer → teacher layer."""
