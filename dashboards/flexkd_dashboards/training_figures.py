"""Training curves: the loss and the validation metric, by optimizer step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from .figure import MOST_POINTS, Figure, KeyEntry, axis, canvas, mean, rounded, thinned
from .labels import GroupKey, figure_text, group_key, sentence_case, setup_labels
from .metric_styles import bare_name, style_of, title_of
from .report_data import ReportData
from .theme import DASHES, Series, method_series

MOST_TOLD = 6
"""Settings that a caption tells one by one."""

Points = Mapping[int, float]
"""Value by step, of one seed."""


def loss_figure(data: ReportData) -> Figure | None:
    """Training loss of every seed and its mean for each method and setting."""
    seeds = _by_group(data, lambda curve: dict(zip(curve.steps, curve.loss, strict=True)))
    if not seeds:
        return None
    longest = max(len(points) for members in seeds.values() for points in members)
    run = math.ceil(longest / MOST_POINTS)
    values = [v for members in seeds.values() for points in members for v in points.values()]
    positive = [value for value in values if value > 0 and math.isfinite(value)]
    logarithmic = len(positive) == len(values) and max(positive) > 20 * min(positive)
    scale = ", log scale" if logarithmic else ""
    thinning = f" Each point is the mean of {run} logged steps." if run > 1 else ""
    return _figure(
        data,
        seeds,
        name="loss",
        title="Training loss",
        caption=(
            "Total training loss by step: thin lines are seeds, thick lines their mean. Every "
            "method has its own objective, so levels are not comparable across methods."
            + thinning
            + _clipping(data)
        ),
        yaxis=axis(f"Training loss{scale}", **(log_ticks(positive) if logarithmic else {})),
        mode="lines",
    )


def _clipping(data: ReportData) -> str:
    """The share of the steps that were clipped, of each group that has any."""
    shares: dict[GroupKey, list[float]] = {}
    for curve in data.curves:
        if curve.clipped is not None:
            shares.setdefault(group_key(curve.method, curve.params), []).append(curve.clipped)
    labels = setup_labels(data.setups)
    found = {labels[group]: mean(own) for group, own in shares.items() if any(own)}
    if not found:
        return ""
    told = ", ".join(f"{label} {share:.0%}" for label, share in found.items())
    if len(found) > MOST_TOLD:
        lowest, highest = min(found.values()), max(found.values())
        told = f"{lowest:.0%} to {highest:.0%} in {len(found)} of {len(shares)} settings"
    return f" Steps whose gradient was clipped: {told}."


def validation_figure(data: ReportData) -> Figure | None:
    """The ranking metric on validation data, or the first metric that was recorded."""
    followed = list(dict.fromkeys(name for curve in data.curves for name in curve.validation))
    if not followed:
        return None
    ranking = bare_name(data.ranking_metric)
    metric = next((name for name in followed if bare_name(name) == ranking), followed[0])
    style = style_of(metric)
    seeds = _by_group(
        data,
        lambda curve: {step: style.scale * v for step, v in curve.validation.get(metric, ())},
    )
    if not seeds:
        return None
    title = sentence_case(title_of(metric if "/" in metric else f"validation/{metric}"))
    return _figure(
        data,
        seeds,
        name="validation",
        title=f"{title} during training",
        caption="Thin lines are seeds, thick lines their mean.",
        yaxis=axis(title),
        mode="lines+markers",
    )


def _by_group(data: ReportData, points_of: Any) -> dict[GroupKey, list[Points]]:
    """The points of each seed by group, without empty curves."""
    seeds: dict[GroupKey, list[Points]] = {}
    for curve in data.curves:
        points = points_of(curve)
        if points:
            seeds.setdefault(group_key(curve.method, curve.params), []).append(points)
    return seeds


def _figure(
    data: ReportData,
    seeds: Mapping[GroupKey, Sequence[Points]],
    *,
    name: str,
    title: str,
    caption: str,
    yaxis: dict[str, Any],
    mode: str,
) -> Figure:
    labels = setup_labels(data.setups)
    colours = method_series(method for method, _ in data.setups)
    thin: list[Any] = []
    thick: list[Any] = []
    key: list[KeyEntry] = []
    for group, members in seeds.items():
        series, label = colours[group[0]], labels[group]
        twins = sum(entry.colour == series.colour for entry in key)
        dash = DASHES[twins % len(DASHES)]
        if len(members) > 1:
            thin += [_trace(points, label, series, "solid", "lines", 0.25) for points in members]
        thick.append(_trace(_mean(members), label, series, dash, mode, 1.0))
        key.append(KeyEntry(label, series.colour, dash))
    plot = canvas([*thin, *thick], height=420, xaxis=axis("Step", rangemode="tozero"), yaxis=yaxis)
    return Figure(name, title, caption, plot, tuple(key))


def _trace(points: Points, label: str, series: Series, dash: str, mode: str, opacity: float) -> Any:
    steps, values = thinned(list(points), list(points.values()))
    whole = opacity == 1.0
    return go.Scatter(
        x=steps,
        y=values,
        mode=mode,
        opacity=opacity,
        line={"color": series.colour.light, "dash": dash, "width": 2.25 if whole else 1},
        marker={"color": series.colour.light, "symbol": series.symbol, "size": 8},
        hovertemplate=f"{figure_text(label)}<br>step %{{x}}: %{{y:.4g}}<extra></extra>",
        hoverinfo=None if whole else "skip",
        legendgroup=label,
    )


def _mean(members: Sequence[Points]) -> Points:
    """Mean over the seeds at the steps that all of them have."""
    shared = set(members[0]).intersection(*members[1:])
    return {step: rounded(mean([points[step] for points in members])) for step in sorted(shared)}


def log_ticks(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with full tick labels: 20 and 50, not a small 2 and 5."""
    lowest, highest = min(values), max(values)
    decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    digits = (1, 2, 5) if len(decades) <= 4 else (1,)
    ticks = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
    return {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
