"""The ranking metric of each group, in the printed unit, prepared for figures."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .labels import figure_text, group_key, series_labels, setup_labels
from .metric_styles import style_of
from .report_data import Group, ReportData
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
    std: float | None
    """Sample standard deviation, None with one seed."""
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
                std=None if spread["std"] is None else style.scale * spread["std"],
                seeds=_seeds(data, group),
                series=series[group["method"]],
                hover=f"<b>{figure_text(labels[key])}</b><br>{value} {style.unit}".rstrip(),
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
