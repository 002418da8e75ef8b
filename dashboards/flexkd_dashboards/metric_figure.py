"""The ranking metric against α, or by method if no method has an α."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from .alpha_axis import AlphaAxis
from .figure import Figure, KeyEntry, axis, canvas
from .labels import figure_text, sentence_case
from .measured import Measured, measured_groups, noise_text, teacher_value
from .metric_styles import title_of
from .report_data import ReportData
from .theme import DASHES, PAGE, Series

TEACHER = KeyEntry("teacher", PAGE["text"], "dash")
SPREAD = (
    "Mean over the seeds with its 95% interval over {noise} as {mark}; the small points are the "
    "seeds."
)


def metric_figure(data: ReportData) -> Figure | None:
    """The figure of the ranking metric, or None if no group has it."""
    measured = measured_groups(data)
    if not measured:
        return None
    alphas = [point.alpha for point in measured if point.alpha is not None]
    if not alphas:
        return _by_method(data, measured)
    return _against_alpha(data, measured, AlphaAxis.over(alphas))


def _against_alpha(data: ReportData, measured: Sequence[Measured], alphas: AlphaAxis) -> Figure:
    lines: dict[str, list[Measured]] = {}
    for point in measured:
        lines.setdefault(point.line, []).append(point)
    dots = [name for name, points in lines.items() if points[0].alpha is not None]
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for name, points in lines.items():
        series = points[0].series
        twins = sum(entry.colour == series.colour for entry in key)
        key.append(KeyEntry(name, series.colour, DASHES[twins % len(DASHES)]))
        if name in dots:
            share = 0.014 * (dots.index(name) - (len(dots) - 1) / 2)
            traces += _line(key[-1], points, alphas, share)
        else:
            traces += _band(key[-1], points[0], alphas)
    teacher = teacher_value(data)
    if teacher is not None:
        key.append(TEACHER)
        traces.append(_level(TEACHER, teacher, alphas, TEACHER.label))
    title = sentence_case(title_of(data.ranking_metric))
    return Figure(
        name="metric",
        title=f"{title} against α",
        caption=SPREAD.format(noise=noise_text(data), mark="bar or band")
        + " Methods without an α, and the teacher, are level lines; points of one α are set side "
        "by side.",
        plot=canvas(traces, height=420, xaxis=alphas.as_layout(), yaxis=axis(title)),
        key=tuple(key),
    )


def _line(
    entry: KeyEntry, points: Sequence[Measured], alphas: AlphaAxis, share: float
) -> Iterator[Any]:
    """Seeds, then means with their bars, of one method over its values of α."""
    placed = [(point.alpha, point) for point in points if point.alpha is not None]
    ordered = sorted(placed, key=lambda pair: pair[0])
    yield _seed_points(
        entry.label,
        [
            (alphas.place(alpha, share + 0.006), value, seed)
            for alpha, point in ordered
            for seed, value in point.seeds
        ],
        entry,
    )
    yield go.Scatter(
        x=[alphas.place(alpha, share) for alpha, _ in ordered],
        y=[point.mean for _, point in ordered],
        error_y=_bars([point for _, point in ordered]),
        mode="lines+markers",
        line={"color": entry.colour.light, "dash": entry.dash, "width": 2},
        marker=_marker(points[0].series),
        hovertext=[point.hover for _, point in ordered],
        hoverinfo="text",
        legendgroup=entry.label,
    )


def _band(entry: KeyEntry, point: Measured, alphas: AlphaAxis) -> Iterator[Any]:
    """A level line for a method without an α, in the band of its interval."""
    left, right = alphas.ends
    if point.interval is not None:
        low, high = point.interval
        yield go.Scatter(
            x=[left, right, right, left],
            y=[low, low, high, high],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=entry.colour.faint,
            hoverinfo="skip",
            legendgroup=entry.label,
        )
    yield _level(entry, point.mean, alphas, point.hover)


def _level(entry: KeyEntry, value: float, alphas: AlphaAxis, hover: str) -> Any:
    left, right = alphas.ends
    return go.Scatter(
        x=[left, *alphas.values, right],
        y=[value] * (len(alphas.values) + 2),
        mode="lines",
        line={"color": entry.colour.light, "dash": entry.dash, "width": 1.5},
        hovertext=hover,
        hoverinfo="text",
        legendgroup=entry.label,
    )


def _by_method(data: ReportData, measured: Sequence[Measured]) -> Figure:
    """One row per group, if there is no α to plot against."""
    traces: list[Any] = []
    for row, point in enumerate(measured):
        entry = KeyEntry(point.label, point.series.colour)
        traces.append(
            _seed_points(point.label, [(v, row + 0.18, seed) for seed, v in point.seeds], entry)
        )
        traces.append(
            go.Scatter(
                x=[point.mean],
                y=[row],
                error_x=_bars([point]),
                mode="markers",
                marker=_marker(point.series),
                hovertext=point.hover,
                hoverinfo="text",
                legendgroup=point.label,
            )
        )
    ends = (len(measured) - 0.4, -0.6)
    teacher = teacher_value(data)
    if teacher is not None:
        traces.append(
            go.Scatter(
                x=[teacher, teacher],
                y=list(ends),
                mode="lines",
                line={"color": TEACHER.colour.light, "dash": TEACHER.dash, "width": 1.5},
                hovertext=TEACHER.label,
                hoverinfo="text",
                legendgroup=TEACHER.label,
            )
        )
    title = sentence_case(title_of(data.ranking_metric))
    rows = axis(
        "",
        range=list(ends),
        tickmode="array",
        tickvals=list(range(len(measured))),
        ticktext=[figure_text(point.label) for point in measured],
        showgrid=False,
    )
    return Figure(
        name="metric",
        title=f"{title} by method",
        caption=SPREAD.format(noise=noise_text(data), mark="bar"),
        plot=canvas(
            traces, height=110 + 52 * len(measured), xaxis=axis(title, nticks=6), yaxis=rows
        ),
        key=() if teacher is None else (TEACHER,),
    )


def _seed_points(label: str, points: Sequence[tuple[float, float, int]], entry: KeyEntry) -> Any:
    """Small points at (x, y) for each seed."""
    return go.Scatter(
        x=[x for x, _, _ in points],
        y=[y for _, y, _ in points],
        mode="markers",
        marker={"color": entry.colour.light, "size": 5, "opacity": 0.55},
        hovertext=[figure_text(f"{label}, seed {seed}") for _, _, seed in points],
        hoverinfo="text",
        legendgroup=label,
    )


def _marker(series: Series) -> dict[str, Any]:
    return {"color": series.colour.light, "symbol": series.symbol, "size": 11}


def _bars(points: Sequence[Measured]) -> dict[str, Any]:
    """The intervals as error bars, not always symmetric; a group without one has no bar."""
    ends = [point.interval or (point.mean, point.mean) for point in points]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - point.mean for point, (_, high) in zip(points, ends, strict=True)],
        "arrayminus": [point.mean - low for point, (low, _) in zip(points, ends, strict=True)],
        "visible": any(point.interval is not None for point in points),
        "color": points[0].series.colour.light,
        "thickness": 1.5,
        "width": 4,
    }
