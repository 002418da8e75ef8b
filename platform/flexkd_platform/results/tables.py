"""The leaderboard: one row per group, as a table, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, overload

from rich.table import Table
from rich.text import Text

from flexkd_core.statistics import Comparison, Summary

from ..spec import Published, canonical_json
from ..tracking import Json, params_text
from .comparison import Group, to_json

Format = Literal["table", "markdown", "csv", "json"]

PERCENT = frozenset(
    {
        *("accuracy", "f1", "accuracy_f1"),
        *("micro_f1", "macro_f1", "subset_accuracy", "hamming_loss", "average_precision"),
        *("rouge1", "rouge2", "rougeL", "bertscore"),
    }
)
"""Metrics that are fractions, shown in percent (and their differences in percentage points)."""

NOTHING = "–"

SINGLE = ("method", "params", "n", "interval", "versus", "published")
"""Columns that can be asked for beside metrics and settings; `interval` is that of every metric."""

COLUMNS = (
    "mean",
    "std",
    "ci95_low",
    "ci95_high",
    "versus_mean",
    "versus_ci95_low",
    "versus_ci95_high",
    "versus_p_t",
    "versus_p_wilcoxon",
    "published",
    "interval_low",
    "interval_high",
    "noise",
    "versus_interval_low",
    "versus_interval_high",
    "versus_noise",
    "versus_p",
    "versus_p_holm",
    "versus_comparisons",
    "versus_effect_size",
    "versus_p_examples",
    "versus_verdict",
    "versus_stochastic_order",
)
"""The CSV columns of each metric."""


@overload
def leaderboard(
    groups: Sequence[Group],
    *,
    metrics: Sequence[str],
    format: Literal["table"] = "table",
    reference: Sequence[Published] = (),
) -> Table: ...
@overload
def leaderboard(
    groups: Sequence[Group],
    *,
    metrics: Sequence[str],
    format: Literal["markdown", "csv", "json"],
    reference: Sequence[Published] = (),
) -> str: ...
def leaderboard(
    groups: Sequence[Group],
    *,
    metrics: Sequence[str],
    format: Format = "table",
    reference: Sequence[Published] = (),
) -> Table | str:
    """The groups in the given order, with spread, interval and difference to the baseline.

    Means are shown ± the sample standard deviation over the seeds, or with "n=1". The difference
    is paired by seed, with its 95% interval and its p-value, corrected by Holm's method for the
    comparisons of the metric, whose number the heading names. `*` marks a difference that is
    distinguishable from 0: of three seeds or more, with a corrected p below 0.05. Intervals and p
    include the noise of the test examples where the groups have it.

    Args:
        metrics: names of metrics in the groups, for example `test/accuracy`.
        format: "table" for a terminal; "markdown"; "csv" and "json" with full precision, each
            metric in its own unit and not in percent.
        reference: published numbers, shown next to the groups of their method and metric.

    Raises:
        ValueError: unknown format.
    """
    if format == "table":
        return _rich(*_cells(groups, metrics, reference), caption=table_note(groups, metrics))
    writers: dict[str, Callable[[], str]] = {
        "markdown": lambda: _markdown(*_cells(groups, metrics, reference)),
        "csv": lambda: _csv(groups, metrics, reference),
        "json": lambda: _json(groups, metrics, reference),
    }
    if format not in writers:
        raise ValueError(f"format {format!r}; allowed are table, {', '.join(writers)}")
    return writers[format]()


@dataclass(frozen=True)
class Column:
    """A column of the table and Markdown formats.

    kind: one of `SINGLE`, `mean`, or `setting`.
    metric: whose mean, interval, comparison or published number it shows; "" for none.
    path: of the setting that it shows.
    """

    title: str
    kind: str
    metric: str = ""
    path: str = ""


def table_columns(
    groups: Sequence[Group], metrics: Sequence[str], reference: Sequence[Published] = ()
) -> list[Column]:
    """All columns for some groups: those of comparisons and published numbers if there are any."""
    columns = [Column(name, name) for name in ("method", "params", "n")]
    for metric in metrics:
        title = f"{metric} %" if _in_percent(metric) else metric
        columns += [Column(title, "mean", metric), Column("95% interval", "interval", metric)]
        if any(metric in (group.versus or {}) for group in groups):
            title = f"vs baseline (p: Holm over {_comparisons(groups, metric)})"
            columns.append(Column(title, "versus", metric))
        if any(_published(group, metric, reference) for group in groups):
            columns.append(Column("published", "published", metric))
    return columns


def cell_text(group: Group, column: Column, reference: Sequence[Published] = ()) -> str:
    """What a group has in a column."""
    metric, summary = column.metric, group.metrics.get(column.metric)
    match column.kind:
        case "method":
            return group.method
        case "params":
            return params_text(group.params, ", ")
        case "n":
            return _count(group)
        case "mean":
            return NOTHING if summary is None else _mean_text(metric, summary)
        case "interval":
            return NOTHING if summary is None else _interval(metric, group.interval(metric))
        case "versus":
            return _versus_text(metric, (group.versus or {}).get(metric))
        case "published":
            return _published_text(metric, _published(group, metric, reference))
    value = setting_of(group, column.path)
    return NOTHING if value is None else setting_text(value)


def setting_of(group: Group, path: str) -> Json:
    """The value of a setting or param of a group; None if it has none."""
    return group.settings.get(path, group.params.get(path))


def setting_text(value: Json) -> str:
    """A text as it is, and other values as JSON."""
    return value if isinstance(value, str) else canonical_json(value)


def _cells(
    groups: Sequence[Group], metrics: Sequence[str], reference: Sequence[Published]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table and Markdown formats."""
    columns = table_columns(groups, metrics, reference)
    rows = [[cell_text(group, column, reference) for column in columns] for group in groups]
    return [column.title for column in columns], rows


def _comparisons(groups: Sequence[Group], metric: str) -> int:
    """How many comparisons the p-values of a metric are corrected for."""
    found = [(group.versus or {}).get(metric) for group in groups]
    return max((each.comparisons for each in found if each is not None), default=0)


def table_note(groups: Sequence[Group], metrics: Sequence[str]) -> str | None:
    """What intervals and p-values include, and what `*` means."""
    rows = [group for group in groups if any(metric in group.metrics for metric in metrics)]
    if not rows:
        return None
    both = sum(any(metric in group.crossed for metric in metrics) for group in rows)
    noise = "over seeds and test examples" if both else "over seeds alone"
    if 0 < both < len(rows):
        noise += " where outputs are known, else over seeds"
    text = f"± std over seeds; intervals {noise}"
    if any(group.versus for group in groups):
        text += "; * distinguishable: 3 seeds or more, p < 0.05 after Holm's correction"
    return text


def _rich(header: list[str], rows: list[list[str]], caption: str | None) -> Table:
    table = Table(caption=caption, caption_justify="left")
    for place, name in enumerate(header):
        side: Literal["left", "right"] = "left" if place < 2 else "right"
        # A long word is broken: an ellipsis would hide a value.
        table.add_column(name, justify=side, no_wrap=place == 0, overflow="fold")
    for row in rows:
        # Text, not str: "[0.1, 0.2]" would be parsed as markup.
        table.add_row(*map(Text, row))
    return table


def _markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * 2 + ["---:"] * (len(header) - 2), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _csv(groups: Sequence[Group], metrics: Sequence[str], reference: Sequence[Published]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["method", "params", "n", "pruned", "failed"]
        + [f"{metric} {name}" for metric in metrics for name in COLUMNS]
    )
    for group in groups:
        numbers = [n for metric in metrics for n in _numbers(group, metric, reference)]
        params = json.dumps(dict(group.params), ensure_ascii=False)
        writer.writerow([group.method, params, group.n, group.pruned, group.failed, *numbers])
    return out.getvalue()


def _numbers(group: Group, metric: str, reference: Sequence[Published]) -> list[float | str | None]:
    """One metric's values in the order of COLUMNS; None becomes an empty field."""
    numbers: list[float | str | None] = [None] * len(COLUMNS)
    if summary := group.metrics.get(metric):
        numbers[:4] = [summary.mean, summary.std, *(summary.ci95 or (None, None))]
        noise = "seeds and examples" if metric in group.crossed else "seeds"
        numbers[10:13] = [*(group.interval(metric) or (None, None)), noise]
    if versus := (group.versus or {}).get(metric):
        numbers[4:7] = [versus.mean, *(versus.ci95 or (None, None))]
        numbers[7:9] = [versus.p_t, versus.p_wilcoxon]
        numbers[13:] = [
            *(versus.interval or (None, None)),
            "seeds" if versus.crossed is None else "seeds and examples",
            versus.p,
            versus.p_holm,
            versus.comparisons,
            versus.effect_size,
            versus.p_examples,
            versus.verdict,
            versus.stochastic_order,
        ]
    if published := _published(group, metric, reference):
        numbers[9] = published.mean
    return numbers


def _json(groups: Sequence[Group], metrics: Sequence[str], reference: Sequence[Published]) -> str:
    """The groups as in `results.json`, with published numbers."""
    rows = []
    for group in groups:
        found = {metric: _published(group, metric, reference) for metric in metrics}
        published = {metric: one.to_json() for metric, one in found.items() if one}
        rows.append({**to_json(group), **({"published": published} if published else {})})
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _count(group: Group) -> str:
    """The number of finished trials, and of pruned and failed ones: `2 (1 pruned, 1 failed)`."""
    lost = {"pruned": group.pruned, "failed": group.failed}
    text = ", ".join(f"{number} {how}" for how, number in lost.items() if number)
    return f"{group.n} ({text})" if text else str(group.n)


def _in_percent(metric: str) -> bool:
    return metric.rsplit("/", 1)[-1] in PERCENT


def _number(metric: str, value: float, sign: str = "") -> str:
    return f"{value * 100:{sign}.2f}" if _in_percent(metric) else f"{value:{sign}.4f}"


def _mean_text(metric: str, summary: Summary, sign: str = "") -> str:
    mean = _number(metric, summary.mean, sign)
    if summary.std is None:
        return f"{mean} (n=1)"  # one seed has no spread: ± 0 would suggest certainty
    return f"{mean} ± {_number(metric, summary.std)}"


def _interval(metric: str, interval: tuple[float, float] | None, sign: str = "") -> str:
    if interval is None:
        return NOTHING
    return f"[{_number(metric, interval[0], sign)}, {_number(metric, interval[1], sign)}]"


def _versus_text(metric: str, difference: Comparison | None) -> str:
    if difference is None:
        return NOTHING
    mean = _number(metric, difference.mean, "+")
    if difference.n < 2:
        return f"{mean} (n=1)"
    parts = [mean]
    if difference.interval is not None:
        parts.append(_interval(metric, difference.interval, "+"))
    if difference.p_holm is not None:
        parts.append(f"p={_p_text(difference.p_holm)}")
    return " ".join(parts) + (" *" if difference.verdict == "distinguishable" else "")


def _p_text(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def _published(group: Group, metric: str, reference: Sequence[Published]) -> Published | None:
    """The published number for the group's method and metric, named with or without its split."""
    names = {metric, metric.rsplit("/", 1)[-1]}
    matching = (one for one in reference if one.method == group.method and one.metric in names)
    return next(matching, None)


def _published_text(metric: str, published: Published | None) -> str:
    if published is None:
        return NOTHING
    mean = _number(metric, published.mean)
    return mean if published.std is None else f"{mean} ± {_number(metric, published.std)}"
