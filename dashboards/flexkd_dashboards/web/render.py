"""A view as an HTML page."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs_version

from ..figure_markup import figure_json
from ..markup import Markup, escaped, joined, tag
from ..theme import css_variables
from .blocks import figures_of
from .page import Page, View
from .query import Query

PLOTLY = f"plotly-{get_plotlyjs_version()}.min.js"
"""The file name of plotly.js, which changes with its content."""


def render(view: View, query: Query, pages: Iterable[Page], place: str) -> str:
    """The whole page.

    pages: of the navigation.
    place: what the app shows, in a few words.
    """
    figures = figures_of(view.blocks)
    content = joined(
        tag("h1", view.title),
        tag("p", view.lead, class_="lead") if view.lead else Markup(),
        *_blocks(view, query),
    )
    live = {"data_refresh": str(view.refresh)} if view.refresh else {}
    plotly = f'<script src="/static/{PLOTLY}" defer></script>' if figures else ""
    return Template(_file("app.html")).substitute(
        title=escaped(f"{view.title} · flexkd"),
        navigation=_navigation(pages, query),
        place=escaped(place),
        main=tag("main", content, id="main", tabindex="-1", **live),
        figures=figure_json(figures),
        plotly=plotly,
    )


def _blocks(view: View, query: Query) -> list[Markup]:
    """The blocks, each of a view that updates itself in an element of its own."""
    blocks = [block.markup(query) for block in view.blocks]
    if not view.refresh:
        return blocks
    return [tag("div", block, id=f"block-{n}", data_live="") for n, block in enumerate(blocks)]


def _navigation(pages: Iterable[Page], query: Query) -> Markup:
    here = query.path.partition("/")[0]
    links = (
        tag("a", p.title, href=f"/{p.path}", **({"aria_current": "page"} if p.path == here else {}))
        for p in pages
        if p.title
    )
    return tag("nav", *links, aria_label="Pages")


def style_sheet() -> str:
    """The CSS of the report and of the app, with their colours."""
    report = resources.files("flexkd_dashboards").joinpath("page.css").read_text(encoding="utf-8")
    return f":root {{ {css_variables()} }}\n{report}\n{_file('app.css')}"


def script(name: str) -> str:
    """A script of the app."""
    return _file(name)


def _file(name: str) -> str:
    return resources.files(f"{__package__}.static").joinpath(name).read_text(encoding="utf-8")
