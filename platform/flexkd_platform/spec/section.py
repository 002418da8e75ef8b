"""The base class of all sections of a spec: frozen, strict, no unknown keys."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A frozen section of a spec that rejects unknown keys and values of another type."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    def to_json(self) -> dict[str, Any]:
        """The section as plain JSON values, every default filled in, keys as in the YAML."""
        dumped: dict[str, Any] = self.model_dump(mode="json")
        return dumped


def later_field(default: Any, *, description: str, **constraints: Any) -> Any:
    """A setting that earlier versions of the platform did not have.

    It is omitted from the JSON of its section while it has its default, which is what earlier
    versions did: the hashes of steps and jobs that do not use it stay the same.
    """
    return Field(
        default,
        description=description,
        exclude_if=lambda value: bool(value == default),
        **constraints,
    )


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes on every machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def sha256_of(value: Any) -> str:
    """Hex SHA-256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted paths; lists stay values."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else key))
    return flat
