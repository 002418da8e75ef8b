"""HTML that is escaped by construction: text becomes markup only in `escaped`."""

from __future__ import annotations

import html
from collections.abc import Sequence


class Markup(str):
    """A string that is HTML already."""

    __slots__ = ()


Content = str | Markup
"""What goes into a tag: markup as it is, any other text escaped."""


def escaped(content: Content) -> Markup:
    """`content` as markup."""
    return content if isinstance(content, Markup) else Markup(html.escape(content))


def joined(*contents: Content) -> Markup:
    """`contents`, concatenated."""
    return Markup("".join(escaped(content) for content in contents))


VOID = {"input"}
"""Elements without content, which have no end tag."""


def tag(name: str, /, *contents: Content, **attributes: str) -> Markup:
    """`<name …>contents</name>`; `class_` and `aria_label` stand for class and aria-label."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
    )
    end = "" if name in VOID else f"</{name}>"
    return Markup(f"<{name}{written}>{joined(*contents)}{end}")


def table(
    caption: str,
    headings: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    numeric: frozenset[int] = frozenset(),
    marked: int | None = None,
    footer: Sequence[Content] = (),
) -> Markup:
    """A captioned table that scrolls horizontally; the first column names the rows.

    Args:
        caption: content of the table, for screen readers and shown above it.
        headings: of the columns.
        rows: cells, as many as there are headings.
        numeric: columns set in tabular figures, aligned right.
        marked: highlighted row, if any.
        footer: one closing row, if any.
    """

    def line(cells: Sequence[Content], **attributes: str) -> Markup:
        inner = (
            tag("th", cell, scope="row")
            if column == 0
            else tag("td", cell, **({"class_": "number"} if column in numeric else {}))
            for column, cell in enumerate(cells)
        )
        return tag("tr", *inner, **attributes)

    head = tag(
        "tr",
        *(
            tag("th", text, scope="col", **({"class_": "number"} if column in numeric else {}))
            for column, text in enumerate(headings)
        ),
    )
    body = [
        line(cells, **({"class_": "marked"} if row == marked else {}))
        for row, cells in enumerate(rows)
    ]
    foot = tag("tfoot", line(footer)) if footer else Markup()
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body), foot)
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")
