"""The spec's JSON Schema: for editors, and for messages that list what is allowed at a path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

from .job import JobSpec


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a job spec as written by a user.

    A method's setting may be a list, which is an axis, or a distribution, so its schema allows all
    three; an axis may be a distribution too.
    """
    schema = JobSpec.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    sweep = schema["$defs"]["Sweep"]["properties"]
    schema["$defs"]["Distribution"] = sweep["space"]["additionalProperties"]
    drawn = {"$ref": "#/$defs/Distribution"}
    sweep["space"]["additionalProperties"] = drawn
    axis = sweep["axes"]
    axis["additionalProperties"] = {"anyOf": [axis["additionalProperties"], drawn]}
    mapping = _resolve(sweep["methods"], schema)["items"]
    sections: dict[str, dict[str, Any]] = {}
    for reference in mapping["discriminator"]["mapping"].values():
        method = _resolve({"$ref": reference}, schema)
        for name, setting in method["properties"].items():
            if name != "kind":
                sections |= _sections(setting, schema)
                _allow(
                    method,
                    name,
                    lambda value: [{"type": "array", "items": value, "minItems": 1}, drawn],
                )
    for section in sections.values():
        for name in section.get("properties", {}):
            if name != "kind":
                _allow(section, name, lambda value: [drawn])
    # The tag of a variant is required, even where it has a default in Python.
    for node in list(_nodes_with(schema, "discriminator")):
        choice = node["discriminator"]
        for reference in choice["mapping"].values():
            variant = _resolve({"$ref": reference}, schema)
            variant["required"] = sorted({*variant.get("required", ()), choice["propertyName"]})
    # `patternProperties` alone would allow keys that match no pattern.
    for node in _nodes_with(schema, "patternProperties"):
        node["additionalProperties"] = False
    return schema


def _allow(
    section: dict[str, Any], name: str, more: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """Allow more than the setting's value: the schemas that `more` returns for its schema."""
    setting = section["properties"][name]
    value = {k: v for k, v in setting.items() if k not in {"description", "default"}}
    kept = {k: setting[k] for k in ("description", "default") if k in setting}
    section["properties"][name] = {"anyOf": [value, *more(value)], **kept}


def _sections(node: Any, schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The sections that a setting may be, by reference."""
    if isinstance(node, list):
        return {name: each for inner in node for name, each in _sections(inner, schema).items()}
    if not isinstance(node, dict):
        return {}
    if "$ref" in node:
        return {node["$ref"]: _resolve(node, schema)}
    return _sections([node.get("anyOf"), node.get("oneOf")], schema)


def _nodes_with(node: Any, keyword: str) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(node.get(keyword), dict):
            yield node
        for inner in list(node.values()):
            yield from _nodes_with(inner, keyword)
    elif isinstance(node, list):
        for inner in node:
            yield from _nodes_with(inner, keyword)


def schema_at(path: Sequence[str | int], data: Any) -> dict[str, Any]:
    """The schema node at a path; `data` selects the variants of unions.

    {} if the schema has no such path.
    """
    schema = _plain_schema()
    node = _resolve(schema, schema)
    here = data
    for part in path:
        node = _variant(node, here, schema)
        here = _child(here, part)
        node = node.get("items", {}) if isinstance(part, int) else _member(node, part)
        described = node.get("description")
        node = _resolve(node, schema)
        if described:
            node = {**node, "description": described}
    return _variant(node, here, schema)


def forget() -> None:
    """Clear the cached schema, after a method, a loss or a task is registered."""
    _plain_schema.cache_clear()


@cache
def _plain_schema() -> dict[str, Any]:
    return JobSpec.model_json_schema(by_alias=True)


def _member(node: dict[str, Any], key: str) -> dict[str, Any]:
    """The schema of one key of an object: a named property, or any other key it allows."""
    known = node.get("properties", {})
    if key in known:
        found: dict[str, Any] = known[key]
        return found
    others = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
    return next((each for each in others if isinstance(each, dict)), {})


def _child(value: Any, part: str | int) -> Any:
    try:
        return value[part]
    except (KeyError, IndexError, TypeError):
        return None


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _variant(node: dict[str, Any], data: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """The member of a union that `data` names by its tag, or the only object among them."""
    discriminator = node.get("discriminator")
    if discriminator and isinstance(data, dict):
        reference = discriminator["mapping"].get(data.get(discriminator["propertyName"]))
        return _resolve({"$ref": reference}, schema) if reference else node
    for member in node.get("anyOf", ()):
        resolved = _resolve(member, schema)
        if isinstance(data, dict) and {"properties", "patternProperties"} & resolved.keys():
            return {k: node[k] for k in ("description",) if k in node} | resolved
        if isinstance(data, dict) and "discriminator" in resolved:
            return _variant(resolved, data, schema)
    for member in node.get("oneOf", ()):  # distributions, which have no tag
        resolved = _resolve(member, schema)
        if isinstance(data, dict) and data.keys() & resolved.get("properties", {}).keys():
            return resolved
    return node
