"""Quality of students against what they cost: a point a group, and the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from flexkd_platform.results import GroupCost, front

from .figure import Figure, KeyEntry, axis, canvas, rounded
from .labels import count, figure_text, sentence_case
from .metric_styles import name_of, style_of, title_of
from .theme import PAGE, method_series
from .training_figures import log_ticks


@dataclass(frozen=True)
class CostAxis:
    """One cost. of: its value in the unit of `title`; None where it is not known."""

    title: str
    of: Callable[[GroupCost], float | None]
    format: str = ",.0f"


def _million(value: int | None) -> float | None:
    return None if value is None else value / 1e6


COSTS: Mapping[str, CostAxis] = {
    "parameters": CostAxis("parameters (millions)", lambda g: _million(g.parameters), ",.4g"),
    "seconds": CostAxis("training and evaluation (seconds)", lambda g: g.seconds, ",.1f"),
    "latency": CostAxis("latency of one example (ms)", lambda g: g.latency_ms, ",.3g"),
    "weights": CostAxis("weights in memory (MB)", lambda g: _million(g.weight_bytes), ",.4g"),
    "peak": CostAxis("peak memory of the GPU (MB)", lambda g: _million(g.peak_bytes), ",.4g"),
}
"""What a student may cost, by the name in a link."""


@dataclass(frozen=True)
class CostPoint:
    """A group with a label that is unique among the points.

    teacher: whether it is the teacher, for comparison.
    """

    label: str
    group: GroupCost
    teacher: bool = False


def cost_figure(points: Sequence[CostPoint], cost: str, metric: str) -> Figure | None:
    """The groups that have both values; None without any."""
    shown = [p for p in points if cost_of_point(p, cost) is not None and metric in p.group.metrics]
    if not shown:
        return None
    students = [point for point in shown if not point.teacher]
    best = pareto(shown, cost, metric)
    series = method_series(point.group.method for point in shown)
    traces = [_line(best, cost, metric)]
    key: dict[str, KeyEntry] = {}
    for point in shown:
        method = point.group.method
        traces.append(_point(point, cost, metric, series[method]))
        key.setdefault(method, KeyEntry(method, series[method].colour))
    devices = sorted({device for point in shown for device in point.group.devices})
    return Figure(
        name="pareto",
        title=f"{sentence_case(name_of(metric))} against {COSTS[cost].title.partition(' (')[0]}",
        caption=(
            "A point is a group of seeds, its bar the 95% interval. The line joins those that no "
            f"other one beats in both: {len(best)} of {count(len(students), 'group')}."
            + (f" Measured on {', '.join(devices)}." if cost in MEASURED and devices else "")
        ),
        plot=canvas(
            traces,
            height=460,
            xaxis=_cost_axis(shown, cost),
            yaxis=axis(sentence_case(title_of(metric))),
        ),
        key=tuple(key.values()),
    )


def _cost_axis(points: Sequence[CostPoint], cost: str) -> dict[str, Any]:
    """The axis of the cost, logarithmic where the costs differ by a large factor."""
    values = [value for point in points if (value := cost_of_point(point, cost)) is not None]
    title = sentence_case(COSTS[cost].title)
    if min(values) <= 0 or max(values) < LARGE_FACTOR * min(values):
        return axis(title)
    return axis(f"{title}, log scale", **log_ticks(values))


LARGE_FACTOR = 5

MEASURED = {"latency", "peak"}
"""Costs that depend on the device."""


def cost_of_point(point: CostPoint, cost: str) -> float | None:
    """A cost of a group, in the unit of the axis."""
    return COSTS[cost].of(point.group)


def pareto(points: Sequence[CostPoint], cost: str, metric: str) -> list[CostPoint]:
    """The students on the front, in ascending order of cost; those without a value are left out."""
    sign = 1 if style_of(metric).higher_is_better else -1
    known = [
        (point, value, sign * float(point.group.metrics[metric]["mean"]))
        for point in points
        if not point.teacher
        and metric in point.group.metrics
        and (value := cost_of_point(point, cost)) is not None
    ]
    places = front([value for _, value, _ in known], [quality for *_, quality in known])
    return [known[place][0] for place in places]


def _point(point: CostPoint, cost: str, metric: str, series: Any) -> Any:
    style, found = style_of(metric), point.group.metrics[metric]
    mean, bounds = found["mean"], found.get("interval", found.get("ci95"))
    value = cost_of_point(point, cost)
    assert value is not None, "points without the cost are left out"
    error: dict[str, Any] = {}
    if bounds is not None:
        error = {
            "array": [rounded(style.scale * (bounds[1] - mean))],
            "arrayminus": [rounded(style.scale * (mean - bounds[0]))],
            "color": series.colour.light,
            "thickness": 1,
            "width": 3,
        }
    text = f"{style.spread(mean, found['std'], point.group.n)}{style.unit and ' ' + style.unit}"
    return go.Scatter(
        x=[rounded(value)],
        y=[rounded(style.scale * mean)],
        error_y=error,
        mode="markers",
        marker={
            "color": series.colour.light,
            "symbol": f"{series.symbol}-open" if point.teacher else series.symbol,
            "size": 10,
        },
        hovertemplate=f"{figure_text(point.label)}<br>{text}<br>"
        f"{COSTS[cost].title}: {value:{COSTS[cost].format}}<extra></extra>",
        legendgroup=point.group.method,
    )


def _line(points: Sequence[CostPoint], cost: str, metric: str) -> Any:
    scale = style_of(metric).scale
    return go.Scatter(
        x=[rounded(value) for p in points if (value := cost_of_point(p, cost)) is not None],
        y=[rounded(scale * p.group.metrics[metric]["mean"]) for p in points],
        mode="lines",
        line={"color": PAGE["muted"].light, "dash": "dot", "width": 1.5, "shape": "hv"},
        hoverinfo="skip",
    )
