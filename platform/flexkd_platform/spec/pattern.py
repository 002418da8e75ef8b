"""Texts of a given form, whose problems are reported in words in place of the pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

WRONG_FORM = "wrong_form"
"""Type of the validation error; its message is what is expected."""

SHORT_NAME = (
    "lower-case letters, digits, hyphens or underscores, of which the first is a letter or digit"
)
"""A name that is part of columns, metrics and paths."""


@dataclass(frozen=True)
class Pattern:
    """A constraint of a text, as `Annotated[str, Pattern(r"^.$", "one character")]`.

    regex: the whole text matches it; the JSON Schema has it as `pattern`.
    expected: what such a text is, in words.
    """

    regex: str
    expected: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": self.regex}

    def _checked(self, text: str) -> str:
        if re.fullmatch(self.regex, text) is None:
            raise PydanticCustomError(WRONG_FORM, "{expected}", {"expected": self.expected})
        return text
