"""The ranking metric of each group, in the printed unit, prepared for figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .labels import figure_text, group_key, series_labels, setup_labels
from .metric_styles import MetricStyle, style_of
from .report_data import Group, ReportData, Spread
from .theme import Series, method_series


@dataclass(frozen=True)
class Measured:
    """One group's ranking metric."""

    label: str
    """Label of the group among all groups."""
    line: str
    """Label of its line when α is the x axis."""
    method: str
    """Its method."""
    alpha: float | None
    """Its α, None for a method without one."""
    mean: float
    """Mean over its seeds."""
    interval: tuple[float, float] | None
    """95% interval of the mean, None if the results have none."""
    seeds: tuple[tuple[int, float], ...]
    """Seed and value of each finished trial; empty with one seed."""
    series: Series
    """How its method is drawn."""
    hover: str
    """Its hover label, as Plotly markup."""


def measured_groups(data: ReportData) -> list[Measured]:
    """Every group that has the ranking metric, in the order of the results."""
    labels, lines = setup_labels(data.setups), series_labels(data.setups)
    series = method_series(method for method, _ in data.setups)
    style = style_of(data.ranking_metric)
    measured = []
    for group in data.groups:
        spread = group["metrics"].get(data.ranking_metric)
        if spread is None or not math.isfinite(spread["mean"]):
            continue
        key = group_key(group["method"], group["params"])
        value = style.spread(spread["mean"], spread["std"], group["n"])
        alpha = group["params"].get("alpha")
        measured.append(
            Measured(
                label=labels[key],
                line=lines[key],
                method=group["method"],
                alpha=float(alpha) if isinstance(alpha, int | float) else None,
                mean=style.scale * spread["mean"],
                interval=_interval(spread, style.scale),
                seeds=_seeds(data, group),
                series=series[group["method"]],
                hover=f"<b>{figure_text(labels[key])}</b><br>{value} {style.unit}".rstrip()
                + _interval_text(spread, style),
            )
        )
    return measured


def teacher_value(data: ReportData) -> float | None:
    """The teacher's ranking metric in the printed unit."""
    if data.teacher is None:
        return None
    value = data.teacher["metrics"].get(data.ranking_metric)
    if value is None or not math.isfinite(value):
        return None
    return style_of(data.ranking_metric).scale * value


def noise_text(data: ReportData) -> str:
    """What the intervals of the ranking metric are over: `seeds and test examples`."""
    metric = data.ranking_metric
    spreads = [group["metrics"][metric] for group in data.groups if metric in group["metrics"]]
    noises = {spread.get("noise", "seeds") for spread in spreads}
    noise = "seeds and test examples" if "seeds and examples" in noises else "seeds alone"
    return f"{noise} where there is more than one seed" if len(noises) > 1 else noise


def _bounds(spread: Spread) -> Sequence[float] | None:
    return spread.get("interval", spread["ci95"])


def _interval(spread: Spread, scale: float) -> tuple[float, float] | None:
    bounds = _bounds(spread)
    if bounds is None or not all(map(math.isfinite, bounds)):
        return None
    return scale * bounds[0], scale * bounds[1]


def _interval_text(spread: Spread, style: MetricStyle) -> str:
    bounds = _bounds(spread)
    return "" if bounds is None else f"<br>95% {style.interval(spread['mean'], bounds)}"


def _seeds(data: ReportData, group: Group) -> tuple[tuple[int, float], ...]:
    key = group_key(group["method"], group["params"])
    scale = style_of(data.ranking_metric).scale
    found = tuple(
        (trial["seed"], scale * trial["metrics"][data.ranking_metric])
        for trial in data.trials
        if trial["status"] in ("done", "reused")
        and data.ranking_metric in trial["metrics"]
        and group_key(trial["method"], trial["params"]) == key
    )
    return found if len(found) > 1 else ()
