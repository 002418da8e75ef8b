"""What pydantic's errors are called in a problem: "expected …, but … was given"."""

from __future__ import annotations

from pydantic_core import ErrorDetails

from .counting import counted
from .pattern import WRONG_FORM

EXPECTED = "expected "
"""Start of the messages about values of the wrong type or size."""

_TYPES = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "tuple_type": "a list",
}
"""What is expected, by the type of the error."""

_BOUNDS = {
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "too_long": "a list of at most {max_length} items",
    WRONG_FORM: "{expected}",
}
"""The same, with the values of the error's context."""


def expectation(detail: ErrorDetails) -> str:
    """What a value should be, as "a number greater than 0".

    An error without an entry, which a field of a plugin may raise, has pydantic's message.
    """
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "too_short":
        what = "mapping" if context["field_type"] == "Dictionary" else "list"
        return f"a {what} of at least {counted(context['min_length'], 'item')}"
    known = _TYPES.get(kind) or _BOUNDS.get(kind)
    if known is None:
        message = detail["msg"]
        return message[0].lower() + message[1:]
    return known.format(**{name: _number(value) for name, value in context.items()})


def _number(value: object) -> object:
    """Bounds of floats are floats: 0.0 is written as 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def either(first: str, second: str) -> str:
    """The message of a value that fits none of two types, from the messages of each.

    "expected text, but 1 was given" and "expected true or false, but 1 was given" become
    "expected text, or true or false, but 1 was given".
    """
    more = second.partition(", but ")[0]
    if not (first.startswith(EXPECTED) and more.startswith(EXPECTED)):
        return f"{first}; or {more}"
    before, but, given = first.partition(", but ")
    return f"{before}, or {more.removeprefix(EXPECTED)}{but}{given}"
