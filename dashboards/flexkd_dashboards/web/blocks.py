"""The blocks that a view consists of: texts, tables with exports, and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..figure import Figure
from ..figure_markup import figure_markup
from ..markup import Content, Markup, joined, tag
from .export import TABLE_FORMATS
from .query import EXPORT, Query

ROWS_A_PAGE = 50


class Block(Protocol):
    """A part of a view, from top to bottom."""

    def markup(self, query: Query) -> Markup:
        """The block as HTML; links keep the rest of the query."""


@dataclass(frozen=True)
class Heading:
    """A heading, below the one of the page."""

    text: str

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        return tag("h2", self.text)


@dataclass(frozen=True)
class Note:
    """A paragraph. notice: whether it stands out, as a warning does."""

    text: Content
    notice: bool = False

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        return tag("p", self.text, class_="notice" if self.notice else "note")


@dataclass(frozen=True)
class Folded:
    """A block that is shown when its title is opened."""

    title: str
    block: Block

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        return tag("details", tag("summary", self.title), self.block.markup(query), class_="folded")


@dataclass(frozen=True)
class Code:
    """A text as it is, such as a spec."""

    text: str
    label: str

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        return tag(
            "pre", tag("code", self.text), tabindex="0", aria_label=self.label, role="region"
        )


@dataclass(frozen=True)
class Facts:
    """Terms and their values in a row."""

    facts: Mapping[str, Content]

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        pairs = (tag("div", tag("dt", k), tag("dd", v)) for k, v in self.facts.items())
        return tag("dl", *pairs, class_="facts")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    text: what is shown and exported.
    href: where it leads; "" for no link.
    tone: `better`, `worse`, `alert` or ""; the text says the same without the colour.
    content: markup that is shown instead of the text.
    """

    text: str
    href: str = ""
    tone: str = ""
    content: Markup | None = None

    def markup(self) -> Markup:
        """The content of the cell."""
        shown: Content = self.text if self.content is None else self.content
        if self.href:
            shown = tag("a", shown, href=self.href)
        return tag("span", shown, class_=self.tone) if self.tone else joined(shown)


Row = Sequence[Cell | str]


@dataclass(frozen=True)
class Sort:
    """How a column orders the rows.

    key: the value of the parameter `sort`; with `-` before it, the order is reversed.
    falling: whether the values fall from the first row to the last, without `-`.
    """

    key: str
    falling: bool = False


@dataclass(frozen=True)
class Table:
    """A table with pages of rows, which exports all of them as CSV, Markdown and LaTeX.

    name: of its files; unique in the view.
    title: caption.
    header, rows: every row has as many cells as the header; the first one names the row.
    left: how many columns are aligned to the left.
    note: below the table.
    sorts: column → how it orders the rows, for those that do.
    exact: header and rows of the CSV file, if it has more than the cells.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Row]
    left: int = 1
    note: str = ""
    sorts: Mapping[str, Sort] = field(default_factory=dict)
    exact: Callable[[], list[list[str]]] | None = None
    rows_a_page: int = ROWS_A_PAGE

    def texts(self) -> list[list[str]]:
        """The rows as text."""
        return [[cell if isinstance(cell, str) else cell.text for cell in r] for r in self.rows]

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        start, pages = self._page(query)
        shown = self.rows[start : start + self.rows_a_page]
        head = tag("tr", *(self._heading(place, query) for place in range(len(self.header))))
        whole = tag(
            "table",
            tag("caption", self.title),
            tag("thead", head),
            tag("tbody", *(self._row(row) for row in shown)),
        )
        scroll = tag(
            "div", whole, class_="scroll", role="region", aria_label=self.title, tabindex="0"
        )
        note = tag("p", self.note, class_="note") if self.note else Markup()
        tools = tag("div", self._pager(query, start, pages), self._exports(query), class_="tools")
        return tag("section", scroll, note, tools, class_="table", id=f"table-{self.name}")

    def _page(self, query: Query) -> tuple[int, int]:
        """The first row that is shown, and the number of pages."""
        pages = max(1, -(-len(self.rows) // self.rows_a_page))
        return (query.number(self._parameter, 1, 1, pages) - 1) * self.rows_a_page, pages

    @property
    def _parameter(self) -> str:
        return f"{self.name}.page"

    def _heading(self, place: int, query: Query) -> Markup:
        text = self.header[place]
        attributes = {} if place < self.left else {"class_": "number"}
        sort = self.sorts.get(text)
        if sort is None:
            return tag("th", text, scope="col", **attributes)
        now = query.text("sort")
        if now.removeprefix("-") == sort.key:
            falls = sort.falling != now.startswith("-")
            attributes["aria_sort"] = "descending" if falls else "ascending"
        then = f"-{sort.key}" if now == sort.key else sort.key
        link = query.link(**{"sort": then, self._parameter: None})
        return tag("th", tag("a", text, href=link), scope="col", **attributes)

    def _row(self, row: Row) -> Markup:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        inner = (
            tag("th", cell.markup(), scope="row")
            if place == 0
            else tag("td", cell.markup(), **({} if place < self.left else {"class_": "number"}))
            for place, cell in enumerate(cells)
        )
        return tag("tr", *inner)

    def _pager(self, query: Query, start: int, pages: int) -> Markup:
        if pages == 1:
            return Markup()
        now = start // self.rows_a_page + 1
        end = min(start + self.rows_a_page, len(self.rows))

        def step(label: str, page: int) -> Markup:
            if not 1 <= page <= pages:
                return tag("span", label, class_="off")
            return tag("a", label, href=query.link(**{self._parameter: str(page)}))

        place = tag("span", f"{start + 1:,}–{end:,} of {len(self.rows):,} rows")
        links = (step("Previous", now - 1), place, step("Next", now + 1))
        return tag("nav", *links, class_="pager", aria_label=f"Pages of {self.title}")

    def _exports(self, query: Query) -> Markup:
        links = (
            tag("a", label, href=query.link(**{EXPORT: f"{self.name}.{end}"}), download="")
            for end, label in TABLE_FORMATS.items()
        )
        return tag("span", "Export ", *links, class_="exports")


@dataclass(frozen=True)
class Plot:
    """A figure that exports as SVG and PNG, with the same content as a table or a sentence.

    alternative: what a reader who does not see the figure gets.
    """

    figure: Figure
    alternative: Table | str

    def markup(self, query: Query) -> Markup:
        """See `Block`."""
        buttons = (
            tag("button", end.upper(), type="button", data_figure=self.figure.name, data_image=end)
            for end in ("svg", "png")
        )
        tools = tag("div", tag("span", "Export ", *buttons, class_="exports"), class_="tools")
        if isinstance(self.alternative, str):
            shown = tag("p", self.alternative, class_="note")
        else:
            summary = tag(
                "summary", f"Table of {self.figure.title[:1].lower()}{self.figure.title[1:]}"
            )
            shown = tag("details", summary, self.alternative.markup(query), class_="alternative")
        return figure_markup(self.figure, joined(tools, shown))


def tables_of(blocks: Iterable[Block]) -> list[Table]:
    """The tables of a view, also folded ones and those of its figures."""
    opened = [block.block if isinstance(block, Folded) else block for block in blocks]
    found = [block for block in opened if isinstance(block, Table)]
    others = [block.alternative for block in opened if isinstance(block, Plot)]
    return found + [one for one in others if isinstance(one, Table)]


def figures_of(blocks: Iterable[Block]) -> tuple[Figure, ...]:
    """The figures of a view."""
    return tuple(block.figure for block in blocks if isinstance(block, Plot))
