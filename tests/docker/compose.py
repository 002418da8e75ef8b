"""compose.yaml as Compose reads it: merged, and with its variables filled in.

Compose itself is not at hand. `interpolated` does what the Compose specification says of `${NAME}`,
`${NAME:-default}` and `${NAME:?message}`, for the whole file, extension fields included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from .conftest import DOCKER

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")


class MissingVariableError(ValueError):
    """A variable that has to be set is not."""


def interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    """`value` with its variables filled in.

    Raises:
        MissingVariableError: with the message that stands beside the variable.
    """
    if isinstance(value, dict):
        return {key: interpolated(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        name, operator, text = match.groups()
        found = environment.get(name, "")
        if found:
            return found
        if operator == ":?":
            raise MissingVariableError(f"{name}: {text}")
        assert operator == ":-", f"{name} has neither a default nor a message"
        return str(text)

    return _VARIABLE.sub(fill, value)


def written() -> Any:
    """The file as it stands, with its anchors merged."""
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def settings() -> dict[str, str]:
    """The variables that .env.example leaves to be filled in."""
    lines = (DOCKER / ".env.example").read_text(encoding="utf-8").splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def filled() -> dict[str, str]:
    """All of `settings` filled in, each with a value of its own."""
    return {name: f"value-of-{name.lower()}" for name in settings()}


def composed() -> Any:
    """The file with every setting filled in."""
    return interpolated(written(), filled())
