"""Parse a spec's YAML into plain values, and find the line of each path."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

from .problems import Problem, SpecError

PathPart = str | int

DEEPEST = 64
"""Maximum nesting of lists and mappings. Specs have a dozen levels; each needs stack space."""


class _Yaml12Loader(yaml.SafeLoader):
    """A YAML 1.2 loader: `3e-4` is a number, `off` is a string, a duplicate key is an error.

    PyYAML follows YAML 1.1, where `3e-4` is text, `off` is false, `010` is 8 and a duplicate key
    silently overrides the first one.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, Any]]]] = {  # type: ignore[misc]
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.rpartition(":")[2] not in {"bool", "int", "float", "timestamp"}
        ]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self._depth == DEEPEST:
            message = f"there are more than {DEEPEST} levels of lists and mappings"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, message, mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, str):  # a pair of escapes, `\ud83d\ude00`, is one character
                value.encode("utf-16", "surrogatepass").decode("utf-16")
            return value
        except UnicodeDecodeError:
            message = "half of a surrogate pair is no character"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None
        except (ValueError, KeyError, TypeError, AttributeError):  # `!!int foo`, 5,000 digits
            shown = str(node.value) if len(str(node.value)) <= 40 else f"{str(node.value)[:39]}…"
            message = f"{shown!r} cannot be read as {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):  # `!!set [a]`
            return super().construct_mapping(node, deep)  # its error names the expected type
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue  # <<: explicit keys override merged ones
            key = str(self.construct_object(key_node, deep=True))
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate key {key!r}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0|[1-9]\d*)$|^0x[0-9a-fA-F]+$"),
    list("-+0123456789"),
)
_Yaml12Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf|INF)$"
        r"|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+.0123456789"),
)


def parse_yaml(text: str, source: str) -> Any:
    """The values of one YAML document.

    Raises:
        SpecError: the text is not valid YAML; the message names the line and column.
    """
    try:
        return yaml.load(text, Loader=_Yaml12Loader)  # a SafeLoader: it creates plain values only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        column = f", column {mark.column + 1}" if mark else ""
        detail = getattr(error, "problem", None) or str(error)
        raise SpecError(
            [
                Problem(
                    f"line {line}{column}" if line else "",
                    f"invalid YAML: {detail}",
                    "check the indentation, colons and brackets there",
                )
            ],
            source,
        ) from None


def line_of(text: str, path: tuple[PathPart, ...]) -> int | None:
    """1-based line of the value at `path`, or at the longest prefix of the path that exists."""
    node = yaml.compose(text, Loader=_Yaml12Loader)
    line: int | None = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = [(k, v) for k, v in node.value if k.value == str(part)]
            if not found:
                return line
            line, node = found[0][0].start_mark.line + 1, found[0][1]
        elif isinstance(node, yaml.SequenceNode):
            if not isinstance(part, int) or part >= len(node.value):
                return line
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def line_in(text: str, path: str) -> int | None:
    """1-based line of the value at a dotted path; None if the text has no such path."""
    parts = split_path(path)
    node = yaml.compose(text, Loader=_Yaml12Loader)
    for part in parts:
        if isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part] if part < len(node.value) else None
        else:
            node = None
    return node.start_mark.line + 1 if node is not None and parts else None


def split_path(dotted: str) -> tuple[PathPart, ...]:
    """Split `sweep.methods[2].alpha` into its parts: strings for keys, integers for list indices.

    A key that contains a dot is written in brackets and quotes: `sweep.axes["distill.epochs"][0]`.
    """
    parts: list[PathPart] = []
    for quoted, name, index in re.findall(r'\["([^"]*)"\]|([^.\[\]]+)|\[(\d{1,9})\]', dotted):
        parts.append(int(index) if index else quoted or name)
    return tuple(parts)


def join_path(parts: tuple[PathPart, ...]) -> str:
    """The inverse of `split_path`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.search(r"[.\[\]]", part):
            text += f'["{part}"]'
        else:
            text += f".{part}" if text else part
    return text


def set_path(data: Any, dotted: str, value: Any) -> None:
    """Set the value at a dotted path in plain values, creating missing sections.

    Raises:
        ValueError: the path passes through a value that has no such part, or exceeds a list.
    """
    parts = split_path(dotted)
    if not parts:
        raise ValueError("the path is empty")
    if len(parts) > DEEPEST:
        raise ValueError(f"the path has {len(parts)} parts; the limit is {DEEPEST}")
    here = data
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        if isinstance(here, list) and isinstance(part, int):
            if part >= len(here):
                raise ValueError(f"{join_path(parts[:depth])} has only {len(here)} entries")
        elif isinstance(here, dict) and isinstance(part, str):
            if not last and here.get(part) is None:
                here[part] = {}
        else:
            raise ValueError(f"{join_path(parts[:depth]) or 'the spec'} has no part {part!r}")
        if last:
            here[part] = value
        else:
            here = here[part]
