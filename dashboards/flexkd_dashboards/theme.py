"""Light and dark colours, the single source for the page's CSS and its figures.

Figures are built in the light colours and stay valid Plotly figures; the page swaps each
light colour for its dark one (`dark_of_light`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """One colour in both themes, as #rrggbb."""

    light: str
    dark: str

    @property
    def css(self) -> str:
        """The CSS value that follows the page's colour scheme."""
        return f"light-dark({self.light}, {self.dark})"

    @property
    def faint(self) -> str:
        """The light colour at the opacity of bands, in Plotly's format."""
        return _faint(self.light)


@dataclass(frozen=True)
class Series:
    """How one method is drawn: its colour, and a symbol that does not depend on colour."""

    colour: Colour
    symbol: str


PAGE: dict[str, Colour] = {
    "background": Colour("#f9f9f8", "#131518"),
    "surface": Colour("#ffffff", "#1a1d21"),
    "text": Colour("#1d2024", "#e8eaed"),
    "muted": Colour("#5c636b", "#a3abb5"),
    "line": Colour("#e2e4e7", "#32373e"),
    "accent": Colour("#0a66a8", "#6bb6ef"),
    "alert": Colour("#b3400a", "#f59a62"),
    "better": Colour("#1c7440", "#63c48a"),
}
"""Colours of the page by role; each is the CSS variable of that name."""

# Okabe & Ito's colour-blind-safe set, darkened or lightened to 3:1 against either surface.
METHOD_SERIES: dict[str, Series] = {
    "ft": Series(Colour("#4f545b", "#8d949e"), "circle"),
    "kd": Series(Colour("#d55e00", "#f0842f"), "square"),
    "projector": Series(Colour("#00996f", "#22c795"), "diamond"),
    "cka": Series(Colour("#b8508f", "#eaa6cd"), "triangle-up"),
    "flexkd": Series(Colour("#0072b2", "#56b4e9"), "star"),
}
"""Methods that keep their colour in every report."""

SPARE_SERIES: tuple[Series, ...] = (
    Series(Colour("#6a4fc4", "#b3a2ff"), "pentagon"),
    Series(Colour("#5f4300", "#e3c54a"), "hexagon"),
    Series(Colour("#1b8a9e", "#5fd3e6"), "triangle-down"),
    Series(Colour("#a02c3c", "#ff8f9b"), "x"),
    Series(Colour("#557300", "#a9cc4d"), "cross"),
    Series(Colour("#34437d", "#93a4ea"), "hourglass"),
    Series(Colour("#946a3c", "#d9b07a"), "bowtie"),
    Series(Colour("#7a1f6b", "#e08fd6"), "diamond-wide"),
)
"""For methods without a fixed colour, in the order they appear."""

DASHES = ("solid", "dash", "dot", "dashdot")
"""Distinguish the settings of one method."""


def method_series(methods: Iterable[str]) -> dict[str, Series]:
    """A series for each of `methods`; they repeat if there are more methods than spares."""
    unknown = [m for m in dict.fromkeys(methods) if m not in METHOD_SERIES]
    spares = {m: SPARE_SERIES[i % len(SPARE_SERIES)] for i, m in enumerate(unknown)}
    return METHOD_SERIES | spares


def css_variables() -> str:
    """The page's colours as CSS declarations."""
    return " ".join(f"--{name}: {colour.css};" for name, colour in PAGE.items())


def dark_of_light() -> dict[str, str]:
    """The dark colour for each light colour that a figure may contain."""
    series = [*METHOD_SERIES.values(), *SPARE_SERIES]
    colours = [*PAGE.values(), *(s.colour for s in series)]
    whole = {c.light: c.dark for c in colours}
    return whole | {_faint(c.light): _faint(c.dark) for c in colours}


def _faint(hexadecimal: str) -> str:
    red, green, blue = (int(hexadecimal[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.13)"
