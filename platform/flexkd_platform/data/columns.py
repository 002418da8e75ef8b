"""The columns that are read from a source, and the problems that refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from ..spec import (
    DocumentColumns,
    InstructionColumns,
    LabelListColumns,
    Problem,
    TextColumns,
)

NAMES_SHOWN = 12
"""Longer lists of names are shortened in messages."""

Holds = Literal["text", "label", "responses", "json"]
"""What a column holds; `responses` are a string, a list of strings, or a list of instances; `json`
is any value, which is checked when examples are made of it."""

HOLDS: dict[str, Holds] = {
    "text": "text",
    "text_pair": "text",
    "label": "label",
    "labels": "json",
    "instruction": "text",
    "input": "text",
    "output": "responses",
    "document": "text",
    "summary": "responses",
    "messages": "json",
    "conversations": "json",
    "prompt": "json",
    "completion": "json",
}
"""By the role of a column, which is the key of the data section that names it; of a list of columns
the place in it too, as `labels[0]`."""


def holds(role: str) -> Holds:
    """What the column of a role holds."""
    return HOLDS[role.partition("[")[0]]


_EXAMPLES = {
    "text": "some text",
    "label": 0,
    "responses": "some text",
    "json": [{"role": "user", "content": "some text"}, {"role": "assistant", "content": "…"}],
}


def example_of(role: str) -> object:
    """An example value of a role's column, for messages."""
    if role == "labels":
        return ["one class", "another"]
    return 0 if role.startswith("labels[") else _EXAMPLES[holds(role)]


def label_column(names: Mapping[str, str]) -> str:
    """The name of the column with the labels; "" if there is none, or more than one."""
    return names.get("label") or names.get("labels") or ""


@dataclass(frozen=True)
class Columns:
    """The columns that a task reads.

    names: role of a column (see `holds`) → its name.
    origin: the file or split that must have them, as named in messages.
    path: of the data section in the spec, as `task.data`.
    optional: roles whose column may be absent.
    instead: groups of roles, which are the names of their columns, each of which replaces `names`
        in a source that has all of a group and lacks one of `names`; the first such group is read.
    """

    names: Mapping[str, str]
    origin: str
    path: str
    optional: frozenset[str] = field(default_factory=frozenset)
    instead: tuple[tuple[str, ...], ...] = ()

    @property
    def candidates(self) -> dict[str, str]:
        """Role and name of every column that may be read."""
        return {**self.names, **{name: name for group in self.instead for name in group}}

    def chosen(self, there: list[str]) -> Columns:
        """The columns that are read from a source with the columns `there`."""
        needed = [name for role, name in self.names.items() if role not in self.optional]
        if not all(name in there for name in needed):
            for group in self.instead:
                if all(name in there for name in group):
                    names = {name: name for name in group}
                    return replace(self, names=names, optional=frozenset(), instead=())
        return replace(self, instead=())

    def absent(self, there: list[str]) -> list[Problem]:
        """Problems of the columns, given the names that are `there`."""
        problems = []
        roles: dict[str, str] = {}
        if self.instead:
            return self.chosen(there).absent(there)
        for role, name in self.names.items():
            count = there.count(name)
            if count == 0 and role not in self.optional:
                remedy = _instead(name, role, there)
                message = f"{self.origin} has no column {name!r}"
                problems.append(Problem(f"{self.path}.{role}", message, remedy))
            elif count > 1:
                message = f"{self.origin} has {count} columns {name!r}"
                problems.append(Problem(f"{self.path}.{role}", message, "rename all but one"))
            if name in roles:
                message = f"{name!r} is named as the {roles[name]} column too"
                problem = Problem(f"{self.path}.{role}", message, "name two different columns")
                problems.append(problem)
            roles.setdefault(name, role)
        return problems

    def present(self, there: list[str]) -> dict[str, str]:
        """Role and name of those columns that are `there`."""
        names = self.chosen(there).names
        return {role: name for role, name in names.items() if name in there}

    def broken(self, what: str, remedy: str) -> Problem:
        """The problem of an unreadable file; `what` continues a sentence starting with its name."""
        return Problem(f"{self.path}.path", f"{self.origin}{what}", remedy)


AnyColumns = TextColumns | LabelListColumns | InstructionColumns | DocumentColumns


def column_names(
    data: AnyColumns,
) -> tuple[dict[str, str], frozenset[str]]:
    """The columns that a data section names, by role; and the roles whose column may be absent.

    Only a column named `input` may be absent: an input column with another name must exist.
    """
    if isinstance(data, TextColumns):
        names = {"text": data.text, "text_pair": data.text_pair, "label": data.label}
    elif isinstance(data, LabelListColumns):
        names = {"text": data.text, "text_pair": data.text_pair, **_label_columns(data.labels)}
    elif isinstance(data, InstructionColumns) and data.messages is not None:
        names = {"messages": data.messages}
    elif isinstance(data, InstructionColumns):
        names = {"instruction": data.instruction, "input": data.input, "output": data.output}
    else:
        names = {"document": data.document, "summary": data.summary}
    optional = frozenset({"input"} if names.get("input") == "input" else ())
    return {role: name for role, name in names.items() if name is not None}, optional


def _label_columns(labels: str | tuple[str, ...]) -> dict[str, str]:
    if isinstance(labels, str):
        return {"labels": labels}
    return {f"labels[{place}]": name for place, name in enumerate(labels)}


def other_columns(
    data: AnyColumns,
) -> tuple[tuple[str, ...], ...]:
    """The columns that are read where those of `column_names` are absent, for `Columns.instead`.

    These are the usual names of conversations and of prompts with completions, and are read only if
    the spec names no column.
    """
    usual = InstructionColumns()
    named = isinstance(data, InstructionColumns) and (
        (data.instruction, data.input, data.output, data.messages)
        == (usual.instruction, usual.input, usual.output, usual.messages)
    )
    return (("messages",), ("conversations",), ("prompt", "completion")) if named else ()


def _instead(name: str, role: str, there: list[str]) -> str:
    """What to do about a missing column; one that differs in blanks or case is named."""
    for other in there:
        if other.strip().casefold() == name.strip().casefold():
            differs = "case" if other.strip() != name.strip() else "blanks"
            return f"its column {other!r} differs in {differs}: rename it, or set {role}: {other!r}"
    shown = [repr(other) if other != other.strip() else other for other in there]
    return f"name one of its columns: {listed(shown)}"


def listed(names: list[str]) -> str:
    """Names for a sentence; long names and long lists are shortened."""
    shown = ", ".join(shortened(name, 40) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def shortened(text: str, width: int = 60) -> str:
    """`text` in at most `width` characters, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
