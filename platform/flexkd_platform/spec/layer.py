"""Names of layers in a spec."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

NAME = r"^(last|(encoder|decoder)\.-?\d+)$"
"""Pattern of a layer that is not a plain number."""


def _known(layer: int | str) -> int | str:
    if isinstance(layer, str) and not re.fullmatch(NAME, layer):
        raise ValueError(f"unknown layer {layer!r}; give last, a number, or decoder.-1")
    return layer


Layer = Annotated[
    int | str,
    AfterValidator(_known),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string", "pattern": NAME}],
            "description": "last, a number, or decoder.-1",
        }
    ),
]
"""`last`, a number (negative counts from the end), or a stack and a number, as `decoder.-1`."""


def _text_keys(value: Any) -> Any:
    """Convert the keys of YAML's `{0: 2}` to strings, as JSON has them."""
    return {str(k): v for k, v in value.items()} if isinstance(value, dict) else value


LayerMap = Annotated[
    dict[Annotated[str, Field(pattern=r"^((encoder|decoder)\.)?-?\d+$")], Layer],
    Field(min_length=1),
    BeforeValidator(_text_keys),
]
"""Student layer → teacher layer."""
