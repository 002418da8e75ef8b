"""A metric against one setting: lines of groups, with intervals, and seeds as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from flexkd_platform.results import Group
from flexkd_platform.results.tables import Column, cell_text, setting_of
from flexkd_platform.tracking import SYMBOLS, Json, params_text

from ..alpha_axis import AlphaAxis
from ..figure import Figure, KeyEntry, axis, canvas, rounded
from ..labels import figure_text, sentence_case
from ..metric_styles import style_of, title_of
from ..theme import DASHES, Series, method_series
from .blocks import Plot, Row, Table

MOST_LINES = 12
"""Lines of one figure: more cannot be told apart."""

Seeds = Mapping[str, Sequence[tuple[int, float]]]
"""Key of a group → seed and value of its trials."""


@dataclass(frozen=True)
class Point:
    """One group at its value of the setting."""

    x: float
    group: Group
    seeds: Sequence[tuple[int, float]]


def setting_plot(
    name: str, task: str, groups: Sequence[Group], seeds: Seeds, path: str, metric: str
) -> Plot | None:
    """The figure of one task, with its table; None if no group has the setting and the metric.

    Args:
        name: of the figure.
        groups: best first; lines with the best points are drawn.
        path: of a setting whose values are numbers.
    """
    found = _lines(groups, seeds, path, metric)
    if not found:
        return None
    searched = _are_searched(found)
    mode = "markers" if searched else "lines+markers"
    found = _clouds(found) if searched else found
    lines = dict(list(found.items())[:MOST_LINES])
    places = AlphaAxis.over([point.x for points in lines.values() for point in points])
    series = method_series(points[0].group.method for points in lines.values())
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for number, (label, points) in enumerate(lines.items()):
        style = series[points[0].group.method]
        twins = sum(entry.colour == style.colour for entry in key)
        key.append(KeyEntry(label, style.colour, DASHES[twins % len(DASHES)]))
        share = 0.014 * (number - (len(lines) - 1) / 2)
        traces += _traces(key[-1], style, points, places, share, metric, mode)
    levels = _without(groups, path, metric)[: MOST_LINES - len(lines)]
    for group in levels:
        entry = KeyEntry(
            _label(group, group.params), method_series([group.method])[group.method].colour, "dot"
        )
        key.append(entry)
        traces.append(_level(entry, group, places, metric))
    title = sentence_case(title_of(metric))
    short = short_name(path)
    figure = Figure(
        name=name,
        title=f"{title} against {short}: {task}",
        caption=_caption(len(found), searched),
        plot=canvas(traces, height=440, xaxis=places.as_layout(short), yaxis=axis(title)),
        key=tuple(key),
    )
    return Plot(figure, _table(name, figure.title, lines, levels, short, metric))


def short_name(path: str) -> str:
    """The symbol or the last part of a setting's path."""
    end = path.rpartition(".")[2]
    return SYMBOLS.get(end, end)


def is_number(value: object) -> bool:
    """Whether a setting's value is a number that has a place on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(groups: Sequence[Group], seeds: Seeds, path: str, metric: str) -> dict[str, list[Point]]:
    """Points in ascending order by the label of their line; the line of the best group first."""
    lines: dict[str, list[Point]] = {}
    for group in groups:
        value = setting_of(group, path)
        if is_number(value) and metric in group.metrics:
            label = _label(group, {p: v for p, v in group.params.items() if not _is_same(p, path)})
            point = Point(float(value), group, seeds.get(group.key, ()))  # type: ignore[arg-type]
            lines.setdefault(label, []).append(point)
    return {label: sorted(points, key=lambda p: p.x) for label, points in lines.items()}


def _without(groups: Sequence[Group], path: str, metric: str) -> list[Group]:
    """The groups that have the metric and not the setting, such as fine-tuning without an α."""
    return [g for g in groups if setting_of(g, path) is None and metric in g.metrics]


def _label(group: Group, params: Mapping[str, Json]) -> str:
    return " ".join(filter(None, [group.method, params_text(params, ", ")]))


def _level(entry: KeyEntry, group: Group, places: AlphaAxis, metric: str) -> Any:
    """A level line at the mean of a group without the setting."""
    left, right = places.ends
    mean = rounded(style_of(metric).scale * group.metrics[metric].mean)
    return go.Scatter(
        x=[left, *places.values, right],
        y=[mean] * (len(places.values) + 2),
        mode="lines",
        line={"color": entry.colour.light, "dash": entry.dash, "width": 1.5},
        hovertext=figure_text(f"{entry.label}: {cell_text(group, Column('', 'mean', metric))}"),
        hoverinfo="text",
        legendgroup=entry.label,
    )


def _is_same(param: str, path: str) -> bool:
    """Whether a param is the setting: params of methods are named by the end of the path."""
    return param == path or path == f"method.{param}"


def _traces(
    entry: KeyEntry,
    series: Series,
    points: Sequence[Point],
    places: AlphaAxis,
    share: float,
    metric: str,
    mode: str,
) -> list[Any]:
    """The seeds, then the means with their intervals."""
    style = style_of(metric)
    dots = [
        (places.place(point.x, share + 0.006), style.scale * value, seed)
        for point in points
        for seed, value in (point.seeds if len(point.seeds) > 1 else ())
    ]
    means = [style.scale * point.group.metrics[metric].mean for point in points]
    bounds = [point.group.interval(metric) for point in points]
    colour = entry.colour.light
    seeds = go.Scatter(
        x=[rounded(x) for x, _, _ in dots],
        y=[rounded(y) for _, y, _ in dots],
        mode="markers",
        marker={"color": colour, "size": 5, "opacity": 0.55},
        hovertext=[figure_text(f"{entry.label}, seed {seed}") for _, _, seed in dots],
        hoverinfo="text",
        legendgroup=entry.label,
    )
    line = go.Scatter(
        x=[rounded(places.place(point.x, share)) for point in points],
        y=[rounded(mean) for mean in means],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [
                0.0 if b is None else rounded(style.scale * b[1] - mean)
                for b, mean in zip(bounds, means, strict=True)
            ],
            "arrayminus": [
                0.0 if b is None else rounded(mean - style.scale * b[0])
                for b, mean in zip(bounds, means, strict=True)
            ],
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        },
        mode=mode,
        line={"color": colour, "dash": entry.dash, "width": 2},
        marker={"color": colour, "symbol": series.symbol, "size": 10},
        hovertext=[figure_text(_hover(entry.label, point, metric)) for point in points],
        hoverinfo="text",
        legendgroup=entry.label,
    )
    return [seeds, line]


def _are_searched(lines: Mapping[str, Sequence[Point]]) -> bool:
    """Whether there are too many lines to draw, most of them with a single point.

    The points of a random search differ in every setting.
    """
    return len(lines) > MOST_LINES and 2 * len(lines) > sum(map(len, lines.values()))


def _clouds(lines: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    """All points of each method."""
    found: dict[str, list[Point]] = {}
    for points in lines.values():
        found.setdefault(points[0].group.method, []).extend(points)
    return {method: sorted(points, key=lambda p: p.x) for method, points in found.items()}


def _hover(label: str, point: Point, metric: str) -> str:
    mean = cell_text(point.group, Column("", "mean", metric))
    return f"{label}, {point.x:g}: {mean}, n={point.group.n}"


def _caption(lines: int, searched: bool) -> str:
    text = (
        "Means over the seeds with their 95% intervals; the small points are the seeds. Lines are "
        "moved sideways so that they do not hide one another. Methods without the setting are "
        "dotted level lines."
    )
    if searched:
        text += " The points of a method differ in other settings, too."
    if lines > MOST_LINES:
        text += f" The {MOST_LINES} of {lines} lines that have the best points are drawn."
    return text


def _table(
    name: str,
    title: str,
    lines: Mapping[str, Sequence[Point]],
    levels: Sequence[Group],
    short: str,
    metric: str,
) -> Table:
    columns = [Column("", kind, metric) for kind in ("n", "mean", "interval")]
    rows: list[Row] = [
        [label, f"{point.x:g}", *(cell_text(point.group, column) for column in columns)]
        for label, points in lines.items()
        for point in points
    ]
    rows += [
        [_label(group, group.params), "–", *(cell_text(group, column) for column in columns)]
        for group in levels
    ]
    header = ("line", short, "n", title_of(metric), "95% interval")
    return Table(f"{name}-table", title, header, rows)
