"""The tables of a job's `results.json`, whose numbers they show as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flexkd_platform.results.versus import lower_is_better

from ..labels import duration, p_text, settings_text
from ..metric_styles import ABSENT, MetricStyle, style_of, title_of
from ..tables import status_mark
from .blocks import Cell, Row, Table

Results = Mapping[str, Any]

NOTE = (
    "± std over seeds; p is corrected by Holm's method for the comparisons of its column; "
    "* distinguishable: 3 seeds or more and a corrected p below 0.05"
)


def groups_table(results: Results) -> list[Table]:
    """Methods and settings with every metric, in the order of the results; [] without groups."""
    groups: Sequence[Results] = results.get("groups", [])
    metrics = _names(group["metrics"] for group in groups)
    if not metrics:
        return []
    versus = _names(group["versus"] or {} for group in groups)
    header = ["Method", "Settings", "n"]
    for metric in metrics:
        header += [title_of(metric), "95% interval"]
        header += ["Difference to the baseline"] if metric in versus else []
    rows: list[Row] = [
        [
            str(group["method"]),
            settings_text(group["params"]),
            _count(group),
            *(cell for metric in metrics for cell in _cells(group, metric, metric in versus)),
        ]
        for group in groups
    ]
    return [Table("groups", "Methods and settings, best first", header, rows, 2, NOTE)]


def trials_table(results: Results) -> Table:
    """Every trial that ended."""
    trials: Sequence[Results] = results["trials"]
    metrics = _names(trial["metrics"] for trial in trials)
    metrics = [name for name in metrics if name.startswith(("test/", "validation/"))]
    header = ["Method", "Settings", "Seed", "Status", *map(title_of, metrics), "Wall time"]
    with_reason = any(trial.get("reason") for trial in trials)
    rows: list[Row] = [
        [
            str(trial["method"]),
            settings_text(trial["params"]),
            str(trial["seed"]),
            Cell(str(trial["status"]), content=status_mark(str(trial["status"]))),
            *(style_of(name).number(trial["metrics"].get(name)) for name in metrics),
            duration(trial["seconds"]),
            *([str(trial.get("reason", ""))] if with_reason else []),
        ]
        for trial in trials
    ]
    return Table("trials", "Trials", [*header, *(["Reason"] if with_reason else [])], rows, 4)


def _names(found: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for metrics in found for name in metrics))


def _count(group: Results) -> str:
    lost = [f"{group[how]} {how}" for how in ("pruned", "failed") if group.get(how)]
    return f"{group['n']} ({', '.join(lost)})" if lost else str(group["n"])


def _cells(group: Results, metric: str, compared: bool) -> list[Cell | str]:
    style, spread = style_of(metric), group["metrics"].get(metric)
    if spread is None:
        return [ABSENT, ABSENT, *([ABSENT] if compared else [])]
    mean = style.spread(spread["mean"], spread["std"], group["n"])
    interval = style.interval(spread["mean"], spread.get("interval", spread["ci95"]))
    versus = (group["versus"] or {}).get(metric)
    return [mean, interval, *([_difference(metric, style, versus)] if compared else [])]


def _difference(metric: str, style: MetricStyle, versus: Results | None) -> Cell | str:
    if versus is None:
        return ABSENT
    text = style.difference(versus["mean"])
    if bounds := versus.get("interval", versus["ci95"]):
        text += f" [{', '.join(style.difference_bounds(versus['mean'], bounds))}]"
    if versus.get("p_holm") is not None:
        text += f" {p_text(versus['p_holm'])}"
    if versus.get("verdict") != "distinguishable":
        return Cell(text)
    worse = (versus["mean"] > 0) == lower_is_better(metric)
    return Cell(f"{text} *", tone="worse" if worse else "better")
