"""A figure as SVG text: drawn without a browser, read without JavaScript.

The figures are those of Plotly that `figure.py` makes; this draws the parts of them that it uses.
Colours follow the colour scheme of the page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .figure import Figure
from .markup import Content, Markup, escaped, joined, tag
from .svg_axis import Axis, Value, axis_over
from .svg_marks import Hover, css_colour, drawn, hovers, number, plain

WIDE, NARROW = 860, 350
"""Widths in px: the SVG is scaled to its place, so a narrow screen needs one of its own."""
LETTER = 7.0
"""Width of a letter in px, about, at the 13 px of labels."""
LONGEST_LABEL = 24
"""Letters of a label beside an axis of a narrow figure; wide ones have twice as many."""


@dataclass(frozen=True)
class Drawing:
    """A figure in one width: its SVG, and the points that a pointer can be near."""

    svg: Markup
    hovers: tuple[tuple[str, Hover], ...]


def draw(figure: Figure, width: int) -> Drawing:
    """Draw a figure, `width` px wide and as high as it asks for.

    The hovers are with the label of their key.
    """
    plot = json.loads(figure.plot.to_json())
    layout, traces = plot["layout"], plot["data"]
    frame = _Frame.of(layout, traces, width)
    shapes = joined(
        *(drawn(trace, frame.x, frame.y) for trace in traces),
        *_shapes(layout, frame),
    )
    clip = f"clip-{figure.name}-{width}"
    svg = tag(
        "svg",
        tag("clipPath", _rect(frame), id=clip),
        *frame.grid(),
        tag("g", shapes, clip_path=f"url(#{clip})"),
        *_annotations(layout, frame),
        viewBox=f"0 0 {width} {layout['height']}",
        class_="wide" if width == WIDE else "narrow",
        aria_hidden="true",
    )
    found = tuple(
        (str(trace.get("legendgroup", "")), hover)
        for trace in traces
        for hover in hovers(trace, frame.x, frame.y)
    )
    return Drawing(svg, found)


@dataclass(frozen=True)
class _Frame:
    """The area of the data in px, and its axes."""

    left: float
    right: float
    top: float
    bottom: float
    x: Axis
    y: Axis
    height: float

    @classmethod
    def of(cls, layout: dict[str, Any], traces: Sequence[dict[str, Any]], width: int) -> _Frame:
        x = axis_over(_values(traces, "x"), layout.get("xaxis", {}), padded=_padded(traces))
        y = axis_over(_values(traces, "y"), layout.get("yaxis", {}), padded=True)
        height = layout["height"]
        above = 34.0 if x.settings.get("side") == "top" else 14.0
        below = 14.0 if x.settings.get("side") == "top" else 54.0
        y = replace(y, first=height - below, last=above)
        labels = [_short(tick.label, width) for tick in y.ticks(_most(y, height / 48))]
        longest = max((len(label) for label in labels), default=0)
        left = 14 + LETTER * longest + (24 if _title(y) else 4)
        x = replace(x, first=left, last=width - 14.0)
        return cls(left, width - 14.0, above, height - below, x, y, height)

    @property
    def width(self) -> float:
        """Of the whole figure."""
        return self.right + 14

    def grid(self) -> Iterator[Markup]:
        """Grid lines, ticks with labels, and titles."""
        for tick in self.x.ticks(_most(self.x, (self.right - self.left) / 90)):
            if self.x.settings.get("showgrid") is not False:
                yield self._line(tick.place, tick.place, self.top, self.bottom)
            row = self.top - 10 if self.x.settings.get("side") == "top" else self.bottom + 19
            yield _text(tick.label, tick.place, row, "middle")
        for tick in self.y.ticks(_most(self.y, self.height / 48)):
            if self.y.settings.get("showgrid") is not False:
                yield self._line(self.left, self.right, tick.place, tick.place)
            label = _short(tick.label, self.width)
            yield _text(label, self.left - 8, tick.place + 4.5, "end")
        yield self._line(self.left, self.right, self.bottom, self.bottom)
        if title := _title(self.x):
            middle = (self.left + self.right) / 2
            yield _text(title, middle, self.height - 8, "middle", class_="axis")
        if title := _title(self.y):
            middle = (self.top + self.bottom) / 2
            turned = {"transform": f"rotate(-90 14 {number(middle)})"}
            yield _text(title, 14, middle, "middle", class_="axis", **turned)

    @staticmethod
    def _line(x1: float, x2: float, y1: float, y2: float) -> Markup:
        ends = {"x1": x1, "x2": x2, "y1": y1, "y2": y2}
        return tag("line", class_="grid", **{name: number(end) for name, end in ends.items()})


def _values(traces: Sequence[dict[str, Any]], name: str) -> Iterator[Value]:
    """All values along one axis, with their error bars, and zero for bars."""
    for trace in traces:
        values = trace.get(name, [])
        yield from values
        bars = trace.get(f"error_{name}")
        if bars and bars.get("visible") is not False:
            lower = bars.get("arrayminus") or bars["array"]
            for value, up, down in zip(values, bars["array"], lower, strict=True):
                if value is not None:
                    yield from (value - (down or 0), value + (up or 0))
        if trace["type"] == "bar" and name == "y":
            yield 0.0


def _padded(traces: Sequence[dict[str, Any]]) -> bool:
    return any("markers" in trace.get("mode", "") for trace in traces)


def _most(axis: Axis, fitting: float) -> int:
    return max(2, int(min(fitting, axis.settings.get("nticks", fitting))))


def _title(axis: Axis) -> str:
    return str(axis.settings.get("title", {}).get("text", ""))


def _short(label: str, width: float) -> str:
    """A label that leaves room for the data."""
    most = LONGEST_LABEL if width < WIDE else 2 * LONGEST_LABEL
    text = plain(label)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _rect(frame: _Frame) -> Markup:
    """The area of the data, with room for markers at its edge."""
    corner = {"x": number(frame.left - 8), "y": number(frame.top - 8)}
    width, height = frame.right - frame.left + 16, frame.bottom - frame.top + 16
    return tag("rect", **corner, width=number(width), height=number(height))


def _shapes(layout: dict[str, Any], frame: _Frame) -> Iterator[Markup]:
    """Vertical lines through the whole area."""
    for shape in layout.get("shapes", []):
        place = frame.x.place(shape["x0"])
        if place is not None:
            line = shape["line"]
            style = f"stroke: {css_colour(line['color'])}; stroke-width: {line['width']}"
            path = f"M{number(place)},{number(frame.top)}V{number(frame.bottom)}"
            yield tag("path", d=path, class_="line", style=f"{style}; stroke-dasharray: 9 5")


def _annotations(layout: dict[str, Any], frame: _Frame) -> Iterator[Markup]:
    for note in layout.get("annotations", []):
        place = frame.x.place(note["x"])
        if place is not None:
            right = place > (frame.left + frame.right) / 2
            shift = -note.get("xshift", 0) if right else note.get("xshift", 0)
            anchor = "end" if right else "start"
            yield _text(note["text"], place + shift, frame.top + 12, anchor, class_="axis")


def _text(label: str, x: float, y: float, anchor: str, **attributes: str) -> Markup:
    place = {"x": number(x), "y": number(y), "text-anchor": anchor}
    return tag("text", *_spans(label), **place, **attributes)


def _spans(label: str) -> Iterator[Content]:
    """The text of a label; `<sub>` is set lower."""
    for part in re.split(r"(<sub>.*?</sub>)", label):
        if part.startswith("<sub>"):
            yield tag("tspan", plain(part), dy="3", font_size="10")
            yield Markup('<tspan dy="-3">\u200b</tspan>')
        else:
            yield escaped(plain(part))
