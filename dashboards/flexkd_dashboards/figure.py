"""The common parts of all figures of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from .labels import figure_text
from .theme import PAGE, Colour

SHADES = [[0, PAGE["surface"].light], [1, PAGE["accent"].light]]
"""The colour scale of heat maps."""

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
MOST_POINTS = 300


@dataclass(frozen=True)
class KeyEntry:
    """One line of a figure's key, which hides and shows the traces of its legend group."""

    label: str
    colour: Colour
    dash: str = "solid"


@dataclass(frozen=True)
class Figure:
    """A Plotly figure and its texts."""

    name: str
    """Unique on the page; part of the ids in its HTML."""
    title: str
    """Heading, without markup."""
    caption: str
    """What is drawn and how to read it, without markup."""
    plot: Any
    """`plotly.graph_objects.Figure` in the light colours; traces carry their key's label as
    `legendgroup`."""
    key: tuple[KeyEntry, ...] = ()
    """What the colours and dashes mean."""


def axis(title: str, **settings: Any) -> dict[str, Any]:
    """An axis with a light grid, no zero line, and margins that fit its labels."""
    return {
        "title": {
            "text": figure_text(title),
            "standoff": 12,
            "font": {"size": 13, "color": PAGE["muted"].light},
        },
        "gridcolor": PAGE["line"].light,
        "linecolor": PAGE["line"].light,
        "tickcolor": PAGE["line"].light,
        "zeroline": False,
        "automargin": True,
        **settings,
    }


def heatmap(*, numbered: bool, **data: Any) -> go.Heatmap:
    """Cells from 0 to 1 as shades. numbered: the cells say their values, and need no colour bar."""
    return go.Heatmap(
        **data,
        zmin=0,
        zmax=1,
        colorscale=SHADES,
        showscale=not numbered,
        colorbar={"thickness": 12, "outlinewidth": 0},
        xgap=2,
        ygap=2,
    )


def canvas(traces: Sequence[Any], *, height: int, **layout: Any) -> Any:
    """A figure of `traces` with the report's fonts, margins and hover labels."""
    text, muted, line, surface = (PAGE[role].light for role in ("text", "muted", "line", "surface"))
    return go.Figure(
        data=list(traces),
        layout={
            "template": go.layout.Template(),
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 32, "b": 8},
            "font": {"family": FONT, "size": 13, "color": text},
            "paper_bgcolor": "rgba(0, 0, 0, 0)",
            "plot_bgcolor": "rgba(0, 0, 0, 0)",
            "hoverlabel": {
                "bgcolor": surface,
                "bordercolor": line,
                "font": {"color": text, "family": FONT},
                "align": "left",
            },
            "modebar": {"bgcolor": "rgba(0, 0, 0, 0)", "color": muted, "activecolor": text},
            "hovermode": "closest",
            "showlegend": False,
            # Keeps the zoom when a change of colours redraws the figure.
            "uirevision": "kept",
            **layout,
        },
    )


def thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """At most `MOST_POINTS` points: the means of equal runs of steps; NaN where a run has none."""
    run = max(1, math.ceil(len(steps) / MOST_POINTS))
    starts = range(0, len(steps), run)
    return (
        [rounded(mean(steps[i : i + run])) for i in starts],
        [rounded(mean(values[i : i + run])) for i in starts],
    )


def mean(values: Sequence[float]) -> float:
    """Mean of the finite values, NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan


def rounded(value: float) -> float:
    """Six significant digits: more are not visible and make the page larger."""
    return float(f"{value:.6g}")
