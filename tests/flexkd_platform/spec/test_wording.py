"""Whatever a field rejects, the message is in the platform's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel, ValidationError

from flexkd_platform.spec import counted
from flexkd_platform.spec.section import Section
from flexkd_platform.spec.wording import either, expectation

WRONG = (
    *(None, True, -1, 0, 1, 0.5, 1.5, 1e30, 10**40, float("nan"), float("inf")),
    *("", "xx", "é" * 300),
    *([], [1], ["a"], [[]], [None], [1, 2, 3], [0, 0]),
    *({}, {"a": 1}, {"kind": "zz"}, {"1": "x"}, {"A B": {}}, {"every": 2}),
    *({"uniform": 1}, {"uniform": [1, 2, 3]}, {"choice": []}, {"kind": "random", "layers": 0}),
)
IN_LOAD = {
    "extra_forbidden",
    "missing",
    "no_distribution",
    "union_tag_invalid",
    "union_tag_not_found",
    "value_error",
}
"""Errors that `load` converts with what the spec allows; `value_error` is our own message."""

RAW = ("input should", "should have", "should match", "pattern", "a valid", "dictionary", "tuple")


def sections(base: type[BaseModel] = Section) -> Iterator[type[BaseModel]]:
    for each in base.__subclasses__():
        if each.__module__.startswith("flexkd_platform.spec"):
            yield each
        yield from sections(each)


def test_no_field_has_a_message_of_pydantic() -> None:
    seen = set()
    for section in {*sections()}:
        for name, field in section.model_fields.items():
            for value in WRONG:
                given = json.dumps({field.alias or name: value})
                try:
                    section.model_validate_json(given)
                except ValidationError as error:
                    for detail in error.errors(include_url=False):
                        if detail["type"] in IN_LOAD:
                            continue
                        seen.add(detail["type"])
                        words = expectation(detail)
                        assert not any(raw in words for raw in RAW), (section, name, value, words)
    # Otherwise the values above would be too tame to show anything.
    assert seen >= {"wrong_form", "too_short", "too_long", "greater_than", "less_than", "int_type"}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            "expected text, but 1 was given",
            "expected true or false, but 1 was given",
            "expected text, or true or false, but 1 was given",
        ),
        (
            "unknown layer 'x'",
            "expected text, but 1 was given",
            "unknown layer 'x'; or expected text",
        ),
    ],
)
def test_what_two_types_expect_is_one_message(first: str, second: str, message: str) -> None:
    assert either(first, second) == message


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [
        ("0 trials", 0, ("trial",)),
        ("1 trial", 1, ("trial",)),
        ("2 trials", 2, ("trial",)),
        ("1,200 trials", 1200, ("trial",)),
        ("1 batch", 1, ("batch", "batches")),
        ("2 batches", 2, ("batch", "batches")),
    ],
)
def test_numbers_of_things(text: str, number: int, words: tuple[str, ...]) -> None:
    assert counted(number, *words) == text
