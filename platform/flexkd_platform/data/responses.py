"""Convert the correct responses of data sets from all their formats to one."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from .columns import shortened

RESPONSES = pa.list_(pa.struct([("input", pa.string()), ("output", pa.list_(pa.string()))]))
"""One row's instances: an input (null: the row's own) and its correct responses."""

Instance = dict[str, Any]
"""An `input` and its `output`, as in `RESPONSES`."""


def instances_of(value: Any, *, nested: bool) -> list[Instance]:
    """The response of a row as a list of instances.

    Args:
        value: null, a response, a list of correct responses, or a list of instances as in
            Self-Instruct: objects with an `output` (again any of these) and an optional `input`.
        nested: whether instances are allowed.

    Raises:
        ValueError: the value is anything else; the message shows it.
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
    """`text`, if it is valid Unicode.

    Raises:
        ValueError: it contains half of a surrogate pair, which JSON allows.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text[error.start]!a} is an unpaired surrogate") from None
    return text


def shown(value: Any) -> str:
    """A value of a file, for messages."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))
