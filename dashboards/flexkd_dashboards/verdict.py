"""The best group, and whether its lead is distinguishable from chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .labels import count, group_key, p_text, setup_labels
from .metric_styles import name_of, style_of
from .report_data import Group, ReportData, Versus

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """The result that the leaderboard marks and the sentence that describes it."""

    best: Group | None
    """The best group of those with two seeds or more, none pruned or failed: one seed, or only the
    successful seeds, are not enough for a winner."""
    sentence: str
    """One or two plain sentences."""


def ranked_groups(data: ReportData) -> list[Group]:
    """Groups by the ranking metric, best first; then those with pruned or failed trials, whose
    means include only the successful seeds; then those without a value.
    """

    def worseness(group: Group) -> tuple[bool, bool, float]:
        badness = _badness(group, data.ranking_metric)
        missing = badness == math.inf
        return missing, missing or _incomplete(group), badness

    return sorted(data.groups, key=worseness)


def n_text(group: Group) -> str:
    """How many of its trials finished, and how many did not: `2 (1 pruned, 1 failed)`."""
    lost = {"pruned": group.get("pruned", 0), "failed": group.get("failed", 0)}
    counts = ", ".join(f"{number} {how}" for how, number in lost.items() if number)
    return f"{group['n']} ({counts})" if counts else str(group["n"])


def _incomplete(group: Group) -> bool:
    # Results of an earlier version have neither.
    return group.get("pruned", 0) + group.get("failed", 0) > 0


def reach_verdict(data: ReportData) -> Verdict:
    """The best group by the ranking metric, and the significance of its lead over the baseline."""
    metric = data.ranking_metric
    style = style_of(metric)
    ranked = [g for g in ranked_groups(data) if _badness(g, metric) < math.inf]
    if not ranked:
        return Verdict(None, f"No method has a result for {name_of(metric)}.")
    labels = setup_labels(data.setups)
    leader = ranked[0]
    best = next((g for g in ranked if g["n"] > 1 and not _incomplete(g)), None)
    leader_label = labels[group_key(leader["method"], leader["params"])]
    extreme = "highest" if style.higher_is_better else "lowest"
    if len(ranked) == 1:
        seeds = "a single seed (n=1)" if leader["n"] == 1 else count(leader["n"], "seed")
        return Verdict(
            None,
            f"{leader_label} is the only method with a result: {name_of(metric)} "
            f"{_value(leader, metric)} over {seeds}.",
        )
    if best is None and any(map(_incomplete, ranked)):
        return Verdict(
            None,
            f"{leader_label} shows {name_of(metric)} {_value(leader, metric)}, but no method has "
            "two seeds or more of which none was pruned or failed, so no winner is declared.",
        )
    if best is None:
        return Verdict(
            None,
            f"{leader_label} has the {extreme} {name_of(metric)}, {_value(leader, metric)}, but "
            "every result here is from a single seed (n=1): "
            "there is no spread to judge it by, so no winner is declared.",
        )
    label = labels[group_key(best["method"], best["params"])]
    sentence = (
        f"{label} has the {extreme} mean {name_of(metric)}, {_value(best, metric)} "
        f"over {count(best['n'], 'seed')}."
    )
    unfinished = any(
        _incomplete(group) and _badness(group, metric) < _badness(best, metric) for group in ranked
    )
    if leader is not best:
        finished = " that all finished" if unfinished else ""
        sentence = (
            f"Of the methods with two seeds or more{finished}, {sentence} "
            f"{leader_label} shows {_value(leader, metric)} on a single seed, "
            "which is not enough for a winner."
        )
    elif unfinished:
        sentence = f"Of the methods whose seeds all finished, {sentence}"
    return Verdict(best, f"{sentence} {_comparison(data, best)}")


def _comparison(data: ReportData, best: Group) -> str:
    """A sentence on the best group's difference to the baseline."""
    if data.baseline is None:
        return "No baseline was named, so no difference was tested."
    versus = (best["versus"] or {}).get(data.ranking_metric)
    if versus is None and best["method"] == data.baseline:
        return "It is the baseline itself."
    if versus is None:
        return (
            f"It has no paired difference to {data.baseline}, the baseline, so nothing was tested."
        )
    style = style_of(data.ranking_metric)
    difference = f"{style.difference(versus['mean'])} {style.difference_unit}".rstrip()
    if versus["n"] < 2:
        return (
            f"Its difference to {data.baseline} is {difference} on one shared seed (n=1), "
            "which cannot be distinguished from chance."
        )
    return _significance(data, versus, f"Its paired difference to {data.baseline}, {difference}")


def _significance(data: ReportData, versus: Versus, difference: str) -> str:
    """`difference` with its interval and p-value, and the conclusion from them."""
    style = style_of(data.ranking_metric)
    p = versus["p_t"]
    facts = [count(versus["n"], "shared seed")]
    if versus["ci95"] is not None:
        bounds = style.difference_bounds(versus["mean"], versus["ci95"])
        facts.insert(0, f"95% interval {' to '.join(bounds)}")
    if p is None or math.isnan(p):
        return f"{difference} ({', '.join(facts)}), has no p-value."
    facts.insert(len(facts) - 1, p_text(p))
    claim = f"{difference} ({', '.join(facts)})"
    if p >= SIGNIFICANCE:
        return f"{claim}, is not distinguishable from 0."
    tests = _tests(data)
    if tests == 1:
        return f"{claim}, is distinguishable from 0."
    if p < SIGNIFICANCE / tests:
        return (
            f"{claim}, is distinguishable from 0, also after a Bonferroni correction for the "
            f"{tests} comparisons made here."
        )
    return (
        f"{claim}, is distinguishable from 0 if taken alone, but not after a Bonferroni "
        f"correction for the {tests} comparisons made here."
    )


def _tests(data: ReportData) -> int:
    """How many groups were compared with the baseline."""
    versus = [(g["versus"] or {}).get(data.ranking_metric) for g in data.groups]
    return sum(v is not None and v["p_t"] is not None for v in versus)


def _badness(group: Group, metric: str) -> float:
    """The mean of a metric, negated if higher is better; infinite without one."""
    spread = group["metrics"].get(metric)
    if spread is None or not math.isfinite(spread["mean"]):
        return math.inf
    return -spread["mean"] if style_of(metric).higher_is_better else spread["mean"]


def _value(group: Group, metric: str) -> str:
    style, spread = style_of(metric), group["metrics"][metric]
    text = style.spread(spread["mean"], spread["std"], None)
    return text + style.unit
