"""The form that changes a view: a GET form, whose URL is the view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..markup import Markup, tag
from .query import Query, url


class Field(Protocol):
    """A field of a form."""

    def markup(self, query: Query) -> Markup:
        """The field with the values of the query."""


@dataclass(frozen=True)
class Text:
    """A line of text. kind: the type of the input, such as `search` or `date`."""

    name: str
    label: str
    kind: str = "text"
    hint: str = ""
    wide: bool = False

    def markup(self, query: Query) -> Markup:
        """See `Field`."""
        box = tag(
            "input",
            type=self.kind,
            name=self.name,
            value=query.text(self.name),
            id=f"field-{self.name}",
            **({"placeholder": self.hint} if self.hint else {}),
        )
        label = tag("label", self.label, for_=f"field-{self.name}")
        return tag("div", label, box, class_=_class(self.wide))


@dataclass(frozen=True)
class Select:
    """One of some options, value → label; `default` is the value without a choice."""

    name: str
    label: str
    options: Mapping[str, str]
    default: str = ""

    def markup(self, query: Query) -> Markup:
        """See `Field`."""
        now = query.text(self.name) if query.has(self.name) else self.default
        options = (
            tag("option", text, value=value, **({"selected": ""} if value == now else {}))
            for value, text in self.options.items()
        )
        label = tag("label", self.label, for_=f"field-{self.name}")
        box = tag("select", *options, name=self.name, id=f"field-{self.name}")
        return tag("div", label, box, class_=_class(False))


@dataclass(frozen=True)
class Checks:
    """Any number of options, value → label; none means all of them, or what `none` says."""

    name: str
    label: str
    options: Mapping[str, str]
    none: str = ""

    def markup(self, query: Query) -> Markup:
        """See `Field`."""
        chosen = query.all(self.name)
        boxes = [
            _check(self.name, value, text, value in chosen) for value, text in self.options.items()
        ]
        # A value of a link that no longer exists still selects, so it is still shown.
        boxes += [_check(self.name, v, v, True) for v in chosen if v not in self.options]
        state = (
            f"{len(chosen)} of {len(self.options)}"
            if chosen
            else self.none or f"all {len(self.options)}"
        )
        summary = tag("summary", self.label, ": ", tag("b", state))
        group = tag("div", *boxes, class_="checks", role="group", aria_label=self.label)
        return tag("details", summary, group, class_="field pick")


@dataclass(frozen=True)
class Form:
    """Fields and a button. kept: parameters that are not among the fields and stay."""

    fields: Sequence[Field]
    kept: Sequence[str] = ()
    button: str = "Show"
    label: str = "What is shown"
    hidden: Mapping[str, str] = field(default_factory=dict)

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        values = [(name, value) for name in self.kept for value in query.all(name)]
        values += list(self.hidden.items())
        hidden = (tag("input", type="hidden", name=name, value=value) for name, value in values)
        buttons = tag(
            "div",
            tag("button", self.button, type="submit"),
            tag("a", "Reset", href=url(query.path)),
            class_="buttons",
        )
        fields = [one.markup(query) for one in self.fields]
        return tag(
            "form",
            *hidden,
            *fields,
            buttons,
            method="get",
            action=url(query.path),
            aria_label=self.label,
            class_="filters",
        )


def _check(name: str, value: str, text: str, checked: bool) -> Markup:
    marks = {"checked": ""} if checked else {}
    return tag("label", tag("input", type="checkbox", name=name, value=value, **marks), text)


def _class(wide: bool) -> str:
    return "field wide" if wide else "field"
