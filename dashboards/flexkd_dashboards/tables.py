"""The tables of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .labels import count, duration, p_text, sentence_case, settings_text
from .markup import Content, Markup, joined, table, tag
from .metric_styles import ABSENT, MINUS, MetricStyle, bare_name, name_of, style_of, title_of
from .report_data import Group, PublishedResult, ReportData, Search, Split, Spread, Trial, Versus
from .theme import method_series
from .verdict import Verdict, n_text, ranked_groups

__all__ = [
    "chosen",
    "cut_trials",
    "leaderboard",
    "lengths",
    "other_metrics",
    "published_list",
    "splits",
    "steps",
    "versions",
]

SHORT_HASH = 12


def leaderboard(data: ReportData, verdict: Verdict) -> Markup:
    """Every group, best first, with the teacher as the closing row."""
    metric = data.ranking_metric
    style = style_of(metric)
    ranked = ranked_groups(data)
    headings = ["Method", "Settings", "n", f"{_heading(metric)}, mean ± std", "95% interval"]
    if data.baseline is not None:
        unit = f" ({style.difference_unit})" if style.difference_unit else ""
        headings += [f"Difference to {data.baseline}{unit}"]
    has_published = any(_published(data, group["method"]) for group in ranked)
    if has_published:
        headings += ["Published"]
    rows = [
        [
            _method(data, group, group is verdict.best),
            settings_text(group["params"]),
            n_text(group),
            style.spread(*_mean_and_std(group, metric), group["n"]),
            _interval(group["metrics"].get(metric), style),
            *([_difference(data, group)] if data.baseline is not None else []),
            *([_published_cell(data, group["method"])] if has_published else []),
        ]
        for group in ranked
    ]
    best = next((i for i, group in enumerate(ranked) if group is verdict.best), None)
    return table(
        f"Methods by {name_of(metric)}, best first",
        headings,
        rows,
        numeric=frozenset(range(2, len(headings))),
        marked=best,
        footer=_teacher_row(data, len(headings)),
    )


def other_metrics(data: ReportData) -> Markup:
    """Mean ± std of every metric, for jobs with more than the ranking metric."""
    rows: list[list[Content]] = [
        [
            _method(data, group, False),
            settings_text(group["params"]),
            *(
                style_of(metric).spread(*_mean_and_std(group, metric), group["n"])
                for metric in data.metrics
            ),
        ]
        for group in ranked_groups(data)
    ]
    teacher = data.teacher["metrics"] if data.teacher is not None else {}
    return table(
        "All metrics, mean ± std",
        ["Method", "Settings", *(_heading(metric) for metric in data.metrics)],
        rows,
        numeric=frozenset(range(2, 2 + len(data.metrics))),
        footer=["teacher", ABSENT, *(style_of(m).number(teacher.get(m)) for m in data.metrics)]
        if teacher
        else (),
    )


def chosen(search: Search) -> Markup:
    """The best point of each method on the validation split, the best method first."""
    metric = search["metric"]
    style = style_of(metric)
    rows: list[list[Content]] = []
    for best in search["best"]:
        spread = best["metrics"][metric]
        shown = style.spread(spread["mean"], spread["std"], best["n"])
        rows.append([best["method"], settings_text(best["params"]), str(best["n"]), shown])
    return table(
        f"Best points by {name_of(metric)}",
        ["Method", "Settings", "n", f"{_heading(metric)}, mean ± std"],
        rows,
        numeric=frozenset({2, 3}),
    )


def published_list(data: ReportData) -> Markup:
    """Every published number with its source."""
    return tag(
        "ul",
        *(
            tag(
                "li",
                f"{row.method}, {bare_name(row.metric)}: {_published_value(row)}"
                + (f" — {row.source}" if row.source else ""),
            )
            for row in data.reference
        ),
    )


def lengths(texts: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Of each split and set, how many texts of each kind are truncated."""
    rows: list[list[Content]] = [
        [split, kind, f"{found['rows']:,}", f"{each['cut']:,}", f"{each['longest']:,}"]
        for split, found in texts.items()
        for kind, each in found.items()
        if kind != "rows"
    ]
    return table(
        "Truncated texts",
        ["Split or set", "Texts", "Rows", "Truncated", "Longest, tokens"],
        rows,
        numeric=frozenset({2, 3, 4}),
    )


def splits(data: ReportData) -> Markup:
    """The splits and evaluation sets, with what is left out and what leaks."""
    columns = {
        "skipped": "Skipped",
        "dropped": "Left out",
        "also_in_train": "Also in train",
        "also_in_test": "Also in test",
        "nearly_in_train": "Nearly in train",
        "nearly_in_test": "Nearly in test",
    }
    used = {key: title for key, title in columns.items() if any(key in s for s in _found(data))}
    origins = any("origins" in split for split in _found(data))
    return table(
        "Examples of each split",
        ["Split", "Examples", *used.values(), *(["Origins"] if origins else [])],
        [
            [
                name,
                f"{split['rows']:,}",
                *(f"{split.get(key, 0):,}" for key in used),
                *([_origins(split)] if origins else []),
            ]
            for name, split in data.splits.items()
        ],
        numeric=frozenset(range(1, 2 + len(used))),
    )


def _found(data: ReportData) -> list[Split]:
    return list(data.splits.values())


def _origins(split: Split) -> str:
    return ", ".join(f"{name} {rows:,}" for name, rows in split.get("origins", {}).items())


def steps(data: ReportData) -> Markup:
    """The steps in the order of the plan."""
    with_reason = any(step.get("reason") for step in data.steps)
    return table(
        "Steps of the job",
        ["Step", "Hash", "Status", "Time", *(["Reason"] if with_reason else [])],
        [
            [
                step["kind"],
                tag("code", step["hash"][:SHORT_HASH], title=step["hash"]),
                status_mark(step["status"]),
                duration(step["seconds"]),
                *([step.get("reason") or ABSENT] if with_reason else []),
            ]
            for step in data.steps
        ],
        numeric=frozenset({3}),
    )


def cut_trials(trials: list[Trial], status: str) -> Markup:
    """The trials that failed, or were pruned, with their reasons."""
    return table(
        f"{count(len(trials), f'{status} trial')}",
        ["Method", "Settings", "Seed", "Time", "Reason"],
        [
            [
                trial["method"],
                settings_text(trial["params"]),
                str(trial["seed"]),
                duration(trial["seconds"]),
                trial.get("reason") or "no reason was recorded",
            ]
            for trial in trials
        ],
        numeric=frozenset({2, 3}),
    )


def versions(data: ReportData) -> Markup:
    """The versions of the packages that the job used."""
    return table(
        "Package versions",
        ["Package", "Version"],
        [[package, version] for package, version in sorted(data.versions.items())],
    )


def status_mark(status: str) -> Markup:
    """A status with a dot that marks a status to investigate."""
    alert = " alert" if status in ("failed", "interrupted", "stopped") else ""
    return tag("span", status, class_=f"status{alert}")


def _heading(metric: str) -> str:
    return sentence_case(title_of(metric))


def _method(data: ReportData, group: Group, best: bool) -> Markup:
    colour = method_series(m for m, _ in data.setups)[group["method"]].colour
    swatch = tag("span", class_="swatch", style=f"background: {colour.css}", aria_hidden="true")
    badge = joined(" ", tag("span", "best", class_="badge")) if best else Markup()
    return joined(swatch, group["method"], badge)


def _difference(data: ReportData, group: Group) -> Content:
    """The paired difference with its interval, and its corrected p-value and effect size below."""
    versus = (group["versus"] or {}).get(data.ranking_metric)
    if versus is None:
        return "baseline" if group["method"] == data.baseline else ABSENT
    style = style_of(data.ranking_metric)
    number = style.difference(versus["mean"])
    if versus["n"] < 2:
        return f"{number} (n=1)"
    interval = ""
    if bounds := versus.get("interval", versus["ci95"]):
        interval = f" [{', '.join(style.difference_bounds(versus['mean'], bounds))}]"
    distinguishable = versus.get("verdict") == "distinguishable"
    mark = tag("strong", " *", title="distinguishable from 0") if distinguishable else Markup()
    return joined(number, interval, mark, tag("small", ", ".join(_tests(versus))))


def _tests(versus: Versus) -> list[str]:
    """Every p-value with what it is of, the effect size and the number of pairs."""
    tests = []
    if (p := versus.get("p_holm")) is not None:
        tests.append(f"{p_text(p)} (Holm, {versus.get('comparisons')})")
    elif "p_holm" not in versus and versus["p_t"] is not None:
        tests.append(f"{p_text(versus['p_t'])} (not corrected)")
    if (effect := versus.get("effect_size")) is not None:
        tests.append(f"g = {effect:.2f}".replace("-", MINUS))
    if (order := versus.get("stochastic_order")) is not None:
        tests.append(f"ε_min = {order:.2f}")
    if (p := versus.get("p_examples")) is not None:
        tests.append(f"{versus.get('examples_test')} over examples {p_text(p)}")
    return [*tests, f"{versus['n']} pairs"]


def _mean_and_std(group: Group, metric: str) -> tuple[float | None, float | None]:
    spread = group["metrics"].get(metric)
    return (None, None) if spread is None else (spread["mean"], spread["std"])


def _interval(spread: Spread | None, style: MetricStyle) -> str:
    if spread is None:
        return ABSENT
    return style.interval(spread["mean"], spread.get("interval", spread["ci95"]))


def _published(data: ReportData, method: str) -> list[PublishedResult]:
    ranking = bare_name(data.ranking_metric)
    return [row for row in data.reference if row.method == method and row.metric == ranking]


def _published_cell(data: ReportData, method: str) -> str:
    return "; ".join(_published_value(row) for row in _published(data, method)) or ABSENT


def _published_value(row: PublishedResult) -> str:
    return style_of(row.metric).spread(row.mean, row.std, None)


def _teacher_row(data: ReportData, width: int) -> list[Content]:
    value = (data.teacher or {"metrics": {}})["metrics"].get(data.ranking_metric)
    if value is None:
        return []
    row: list[Content] = ["teacher", ABSENT, ABSENT, style_of(data.ranking_metric).number(value)]
    return row + [ABSENT] * (width - len(row))
