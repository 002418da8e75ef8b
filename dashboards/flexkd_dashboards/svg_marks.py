"""The traces of static figures: lines, points, bars and cells as SVG."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .markup import Markup, tag
from .svg_axis import Axis, Value
from .theme import PAGE, dark_of_light

DASH_ARRAYS = {"solid": "none", "dash": "9 5", "dot": "2.5 4", "dashdot": "9 4 2.5 4"}
DARK = dark_of_light()
INVERTED_FROM = 0.7
"""Cells above this value have their text in the colour of the page."""


Pixels = tuple[float | None, float | None]
"""Where a point is drawn; None where it cannot be."""


@dataclass(frozen=True)
class Hover:
    """A point that a pointer can be near: its pixels, and what it is."""

    x: float
    y: float
    text: str


def css_colour(light: str) -> str:
    """A colour of a figure as CSS that follows the colour scheme."""
    return f"light-dark({light}, {DARK[light]})" if light in DARK else light


def plain(text: str) -> str:
    """The text of a Plotly label, without its markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", text.replace("<br>", "\n")))


def number(value: float) -> str:
    """A pixel coordinate, to a tenth."""
    return f"{value:.1f}".removesuffix(".0")


def drawn(trace: dict[str, Any], x: Axis, y: Axis) -> Markup:
    """One trace; it can be hidden by its key."""
    if trace["type"] == "heatmap":
        return _cells(trace, x, y)
    shapes = _bars(trace, x, y) if trace["type"] == "bar" else _scatter(trace, x, y)
    attributes = {"data-group": trace.get("legendgroup", ""), "opacity": f"{_opacity(trace):g}"}
    return tag("g", *shapes, class_="trace", **attributes)


def hovers(trace: dict[str, Any], x: Axis, y: Axis) -> list[Hover]:
    """The points of a trace that have a text."""
    if trace.get("hoverinfo") == "skip" or trace["type"] == "heatmap":
        return []
    found = []
    for index, (left, top) in enumerate(_points(trace, x, y)):
        if left is not None and top is not None and (text := _hover_text(trace, index)):
            found.append(Hover(round(left, 1), round(top, 1), text))
    return found


def symbol_path(symbol: str, size: float) -> str:
    """The outline of a marker around the origin; `size` is its diameter."""
    r = size / 2
    if symbol == "circle":
        halves = (f"a{number(r)},{number(r)} 0 1 0 {number(across)},0" for across in (size, -size))
        return f"M{number(-r)},0{''.join(halves)}z"
    corners = _CORNERS.get(symbol) or _CORNERS["square"]
    return "M" + "L".join(f"{a * r:.2f},{b * r:.2f}" for a, b in corners) + "z"


def _scatter(trace: dict[str, Any], x: Axis, y: Axis) -> Iterator[Markup]:
    points = _points(trace, x, y)
    mode = trace.get("mode", "lines")
    line = trace.get("line", {})
    if trace.get("fill") == "toself":
        yield tag("path", d=f"{_path(points)}z", style=f"fill: {css_colour(trace['fillcolor'])}")
        return
    if "lines" in mode:
        dashes = DASH_ARRAYS[line.get("dash", "solid")]
        style = f"stroke: {css_colour(line['color'])}; stroke-width: {line.get('width', 2)}"
        if dashes != "none":
            style += f"; stroke-dasharray: {dashes}"
        yield tag("path", d=_path(points), class_="line", style=style)
    yield from _error_bars(trace, points, x, y)
    if "markers" in mode:
        yield _markers(trace.get("marker", {}), points)


def _markers(marker: dict[str, Any], points: Sequence[Pixels]) -> Markup:
    outline = symbol_path(marker.get("symbol", "circle"), marker.get("size", 6))
    shapes = [
        tag("path", d=outline, transform=f"translate({number(left)} {number(top)})")
        for left, top in points
        if left is not None and top is not None
    ]
    opacity = f"{marker.get('opacity', 1):g}"
    return tag("g", *shapes, style=f"fill: {css_colour(marker['color'])}", opacity=opacity)


def _error_bars(
    trace: dict[str, Any], points: Sequence[Pixels], x: Axis, y: Axis
) -> Iterator[Markup]:
    """Bars along one axis, with caps."""
    for name, along in (("error_x", x), ("error_y", y)):
        bars = trace.get(name)
        if not bars or bars.get("visible") is False:
            continue
        values = trace[name[-1]]
        lower = bars.get("arrayminus") or bars["array"]
        cap = bars.get("width", 4)
        parts = []
        for value, up, down, (left, top) in zip(values, bars["array"], lower, points, strict=True):
            if value is None or left is None or top is None:
                continue
            ends = (along.place(value - (down or 0)), along.place(value + (up or 0)))
            if None in ends or ends[0] == ends[1]:
                continue
            parts.append(_bar(ends, (left, top), cap, horizontal=name == "error_x"))
        style = f"stroke: {css_colour(bars['color'])}; stroke-width: {bars.get('thickness', 1.5)}"
        yield tag("path", d="".join(parts), class_="line", style=style)


def _bar(ends: Any, centre: Any, cap: float, *, horizontal: bool) -> str:
    (low, high), (left, top) = ends, centre
    if horizontal:
        caps = "".join(f"M{number(e)},{number(top - cap)}v{number(2 * cap)}" for e in (low, high))
        return f"M{number(low)},{number(top)}H{number(high)}{caps}"
    caps = "".join(f"M{number(left - cap)},{number(e)}h{number(2 * cap)}" for e in (low, high))
    return f"M{number(left)},{number(low)}V{number(high)}{caps}"


def _bars(trace: dict[str, Any], x: Axis, y: Axis) -> Iterator[Markup]:
    """Bars from zero, as one shape."""
    half = trace.get("width", 1) / 2
    floor = y.place(0.0)
    assert floor is not None, "bars are drawn on a linear axis"
    parts = []
    for value, height in zip(trace["x"], trace["y"], strict=True):
        left, right, top = x.place(value - half), x.place(value + half), y.place(height)
        if left is not None and right is not None and top is not None:
            parts.append(
                f"M{number(left)},{number(floor)}V{number(top)}H{number(right)}V{number(floor)}z"
            )
    yield tag("path", d="".join(parts), style=f"fill: {css_colour(trace['marker']['color'])}")


def _cells(trace: dict[str, Any], x: Axis, y: Axis) -> Markup:
    """Cells from the surface to the accent colour, numbered where the figure asks for it."""
    width = abs((x.last - x.first) / max(1, len(x.names))) - 2
    height = abs((y.last - y.first) / max(1, len(y.names))) - 2
    shapes: list[Markup] = []
    for name, row in zip(trace["y"], trace["z"], strict=True):
        for column, value in zip(trace["x"], row, strict=True):
            left, top = x.place(column), y.place(name)
            if value is None or left is None or top is None:
                continue
            title = tag("title", f"{plain(name)} and {column}: {value:.3g}")
            corner = {"x": number(left - width / 2), "y": number(top - height / 2)}
            size = {"width": number(width), "height": number(height)}
            opacity = {"fill-opacity": f"{value:.3g}"}
            shapes.append(tag("rect", title, **corner, **size, **opacity))
            if trace.get("texttemplate"):
                inverted = " inverted" if value > INVERTED_FROM else ""
                place = {"x": number(left), "y": number(top), "dy": "0.35em"}
                shapes.append(tag("text", f"{value:.2f}", class_=f"cell{inverted}", **place))
    return tag("g", *shapes, style=f"fill: {PAGE['accent'].css}")


def _points(trace: dict[str, Any], x: Axis, y: Axis) -> list[Pixels]:
    pairs: Iterator[tuple[Value, Value]] = zip(trace["x"], trace["y"], strict=True)
    return [(x.place(left), y.place(top)) for left, top in pairs]


def _path(points: Sequence[Pixels]) -> str:
    """Straight lines through the points, interrupted where one cannot be drawn."""
    parts, pen = [], "M"
    for left, top in points:
        if left is None or top is None:
            pen = "M"
            continue
        parts.append(f"{pen}{number(left)},{number(top)}")
        pen = "L"
    return "".join(parts)


def _opacity(trace: dict[str, Any]) -> float:
    return float(trace.get("opacity", 1))


def _hover_text(trace: dict[str, Any], index: int) -> str:
    """The label of one point: its text, or the template with its values."""
    texts = trace.get("hovertext")
    if texts is not None:
        return plain(texts if isinstance(texts, str) else texts[index])
    template = trace.get("hovertemplate", "")
    for name in ("x", "y"):
        template = _filled(template, name, trace[name][index])
    return plain(template.replace("<extra></extra>", ""))


def _filled(template: str, name: str, value: Any) -> str:
    """The template with `%{name}` or `%{name:format}` replaced."""

    def written(found: re.Match[str]) -> str:
        return format(value, found[1] or "g")

    return re.sub(rf"%\{{{name}(?::([^}}]*))?\}}", written, template)


def _polygon(corners: int, turn: float = -90.0) -> list[tuple[float, float]]:
    angles = [math.radians(turn + 360 * i / corners) for i in range(corners)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]


def _star() -> list[tuple[float, float]]:
    return [
        (reach * math.cos(math.radians(36 * i - 90)), reach * math.sin(math.radians(36 * i - 90)))
        for i in range(10)
        for reach in [1.3 if i % 2 == 0 else 0.55]
    ]


_THIRD = 0.36
_PLUS = [
    *((-_THIRD, -1.0), (_THIRD, -1.0), (_THIRD, -_THIRD), (1.0, -_THIRD), (1.0, _THIRD)),
    *((_THIRD, _THIRD), (_THIRD, 1.0), (-_THIRD, 1.0), (-_THIRD, _THIRD), (-1.0, _THIRD)),
    *((-1.0, -_THIRD), (-_THIRD, -_THIRD)),
]
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "diamond": _polygon(4),
    "diamond-wide": [(1.4 * a, 0.8 * b) for a, b in _polygon(4)],
    "triangle-up": _polygon(3),
    "triangle-down": _polygon(3, 90.0),
    "pentagon": _polygon(5),
    "hexagon": _polygon(6),
    "star": _star(),
    "cross": _PLUS,
    "x": [((a - b) * 0.75, (a + b) * 0.75) for a, b in _PLUS],
    "hourglass": [(-0.9, -1.0), (0.9, -1.0), (-0.9, 1.0), (0.9, 1.0)],
    "bowtie": [(-1.0, -0.9), (-1.0, 0.9), (1.0, -0.9), (1.0, 0.9)],
}
