"""Right responses in every form that data sets give them, brought to one."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from .columns import shortened

RESPONSES = pa.list_(pa.struct([("input", pa.string()), ("output", pa.list_(pa.string()))]))
"""One row's instances: an input (null: the row's own) and its right responses."""

Instance = dict[str, Any]
"""An `input` and its `output`, as `RESPONSES` has them."""


def instances_of(value: Any, *, nested: bool) -> list[Instance]:
    """What a row gives as its response, as a list of instances.

    Args:
        value: null, a response, a list of right responses, or a list of instances as
            Self-Instruct has them: objects with an `output` (again any of these) and perhaps an
            `input`.
        nested: instances are allowed.

    Raises:
        ValueError: anything else; the message shows it.
    """
    if nested and isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [_instance(item) for item in value]
    return [{"input": None, "output": _texts(value)}]


def responses_array(values: list[Any], *, nested: bool) -> pa.Array:
    """A column of `RESPONSES`.

    Raises:
        ValueError: as `instances_of`.
    """
    return pa.array([instances_of(value, nested=nested) for value in values], RESPONSES)


def _instance(item: Any) -> Instance:
    if not isinstance(item, dict) or "output" not in item:
        raise ValueError(f"{shown(item)} is not an instance with an output")
    given = item.get("input")
    if given is not None and not isinstance(given, str):
        raise ValueError(f"{shown(given)} is not text")
    if given is not None:
        whole(given)
    return {"input": given, "output": _texts(item["output"])}


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [whole(value)]
    if not isinstance(value, list):
        raise ValueError(f"{shown(value)} is neither text nor a list of texts")
    for item in value:
        if item is not None and not isinstance(item, str):
            raise ValueError(f"{shown(item)} is not text")
    return [whole(item) for item in value if item is not None]


def whole(text: str) -> str:
    """`text`, if all of it is Unicode.

    Raises:
        ValueError: it holds half of a surrogate pair, as texts of JSON can.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text[error.start]!a} is half of a character") from None
    return text


def shown(value: Any) -> str:
    """A value of a file, as messages show it."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))
