"""Parallel coordinates of a search: a line for each point, an axis for each setting and the metric.

Drawn with lines and not with Plotly's `parcoords`, which compiles code at run time: the security
policy of the app forbids it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from flexkd_platform.results.tables import setting_text
from flexkd_platform.tracking import Json

from ..figure import Figure, KeyEntry, axis, canvas, rounded
from ..labels import figure_text
from ..theme import PAGE
from .setting_figure import is_number

BEST_SHARE = 0.1
MOST_TICKS = 5
ROTATED = 4
"""From so many axes on, their names are slanted."""


@dataclass(frozen=True)
class Scale:
    """Values of one axis as heights from 0 to 1, and its ticks."""

    heights: Sequence[float]
    ticks: Sequence[tuple[float, str]]
    name: str


def scale_of(name: str, values: Sequence[Json]) -> Scale:
    """Numbers by size, logarithmic from a decade on; other values evenly spaced."""
    if not all(is_number(value) for value in values):
        names = sorted({setting_text(value) for value in values})
        places = {n: (i / (len(names) - 1) if len(names) > 1 else 0.5) for i, n in enumerate(names)}
        ticks = [(place, n) for n, place in places.items()]
        return Scale([places[setting_text(value)] for value in values], ticks, name)
    numbers = [float(value) for value in values]  # type: ignore[arg-type]
    logarithmic = min(numbers) > 0 and max(numbers) / min(numbers) >= 10
    moved = [math.log10(n) if logarithmic else n for n in numbers]
    low, high = min(moved), max(moved)
    width = (high - low) or 1.0
    shown = name + (" (log)" if logarithmic else "")
    steps = [low + width * i / (MOST_TICKS - 1) for i in range(MOST_TICKS)] if high > low else [low]
    ticks = [((s - low) / width, f"{10**s if logarithmic else s:.3g}") for s in steps]
    return Scale([(m - low) / width for m in moved], ticks, shown)


def parallel_figure(
    name: str,
    title: str,
    points: Mapping[str, Sequence[Json]],
    goodness: Sequence[float],
    labels: Sequence[str],
) -> Figure:
    """The figure; the lines of the best tenth have a colour.

    Args:
        points: name of each axis → its value for every point; the last one is the metric.
        goodness: of each point, larger is better.
        labels: of the points.
    """
    scales = [scale_of(axis_name, values) for axis_name, values in points.items()]
    best = set(_best(goodness))
    order = sorted(range(len(labels)), key=lambda place: (place in best, goodness[place]))
    traces = [_line(place, scales, labels[place], place in best) for place in order]
    traces += [_ticks(column, scale) for column, scale in enumerate(scales)]
    places = list(range(len(scales)))
    xaxis = axis(
        "",
        tickmode="array",
        tickvals=places,
        ticktext=[figure_text(scale.name) for scale in scales],
        tickangle=-30 if len(scales) >= ROTATED else 0,
        range=[-0.8, len(scales) - 0.65],
        gridcolor=PAGE["muted"].light,
    )
    yaxis = axis("", visible=False, range=[-0.05, 1.05])
    return Figure(
        name=name,
        title=title,
        caption="One line for each point of the search; the best tenth has a colour. Each axis has "
        "its own scale.",
        plot=canvas(traces, height=420, xaxis=xaxis, yaxis=yaxis),
        key=(KeyEntry(BEST, PAGE["accent"]), KeyEntry(OTHERS, PAGE["muted"])),
    )


BEST, OTHERS = "best tenth", "others"


def _best(goodness: Sequence[float]) -> list[int]:
    count = max(1, math.floor(BEST_SHARE * len(goodness)))
    return sorted(range(len(goodness)), key=lambda place: -goodness[place])[:count]


def _line(place: int, scales: Sequence[Scale], label: str, best: bool) -> Any:
    colour = PAGE["accent" if best else "muted"].light
    return go.Scatter(
        x=list(range(len(scales))),
        y=[rounded(scale.heights[place]) for scale in scales],
        mode="lines+markers",
        line={"color": colour, "width": 2.25 if best else 1},
        marker={"color": colour, "size": 5},
        opacity=1.0 if best else 0.35,
        hovertext=figure_text(label),
        hoverinfo="text",
        legendgroup=BEST if best else OTHERS,
    )


def _ticks(column: int, scale: Scale) -> Any:
    """The labels of an axis, left of it."""
    return go.Scatter(
        x=[column] * len(scale.ticks),
        y=[rounded(place) for place, _ in scale.ticks],
        mode="text",
        text=[f"{figure_text(text)} " for _, text in scale.ticks],
        textposition="middle left",
        textfont={"size": 11, "color": PAGE["text"].light},
        hoverinfo="skip",
    )
