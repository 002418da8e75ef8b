"""A figure as HTML, and the data that the page's script draws it from."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .figure import Figure, KeyEntry
from .markup import Markup, tag
from .svg_marks import DASH_ARRAYS
from .theme import dark_of_light


def figure_markup(figure: Figure, below: Markup = Markup()) -> Markup:  # noqa: B008
    """The figure's heading, the place where it is drawn, its key and its caption.

    below: what follows the caption.
    """
    plot = tag(
        "div",
        id=f"plot-{figure.name}",
        class_="plot",
        role="group",  # Plotly puts buttons into it, which an image must not have
        aria_labelledby=labels_of(figure),
        style=f"min-height: {figure.plot.layout.height}px",
    )
    return framed(figure, plot, below)


def framed(figure: Figure, plot: Markup, below: Markup = Markup()) -> Markup:  # noqa: B008
    """A plot under its heading, with its key and its caption."""
    key = (key_entry(figure.name, entry) for entry in figure.key)
    return tag(
        "figure",
        tag("h3", figure.title, id=f"title-{figure.name}"),
        plot,
        tag("ul", *key, class_="key", aria_label="Key: press to hide or show")
        if figure.key
        else Markup(),
        tag("figcaption", figure.caption, id=f"caption-{figure.name}"),
        below,
        id=f"figure-{figure.name}",
    )


def labels_of(figure: Figure) -> str:
    """The ids of the heading and the caption, which label the plot."""
    return f"title-{figure.name} caption-{figure.name}"


def figure_json(figures: Iterable[Figure]) -> str:
    """All figures for the page's script; `<` is escaped, since it could end the script element."""
    drawn = {figure.name: json.loads(figure.plot.to_json()) for figure in figures}
    text = json.dumps(
        {"darkOfLight": dark_of_light(), "figures": drawn}, separators=(",", ":"), sort_keys=True
    )
    return text.replace("<", "\\u003c")


def key_entry(figure: str, entry: KeyEntry) -> Markup:
    """A button that hides or shows a group of lines, with a sample of them."""
    sample = tag(
        "svg",
        tag("line", x1="0", y1="5", x2="26", y2="5", stroke_dasharray=DASH_ARRAYS[entry.dash]),
        viewBox="0 0 26 10",
        aria_hidden="true",
        style=f"color: {entry.colour.css}",
    )
    attributes = {"data-figure": figure, "data-group": entry.label, "aria-pressed": "true"}
    return tag("li", tag("button", sample, entry.label, type="button", **attributes))
