"""The group that validation chose, and whether its lead is distinguishable from chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .labels import count, group_key, p_text, setup_labels
from .metric_styles import name_of, style_of
from .report_data import Group, ReportData, Versus, Winner


@dataclass(frozen=True)
class Verdict:
    """The result that the leaderboard marks and the sentences that describe it."""

    best: Group | None
    """The group that is best on validation, of those that finished with two seeds or more."""
    sentence: str
    """Some plain sentences."""


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
    """The group that validation chose, what the other split reports of it, and how sure that is."""
    metric = data.ranking_metric
    ranked = [g for g in ranked_groups(data) if _badness(g, metric) < math.inf]
    if not ranked:
        return Verdict(None, f"No method has a result for {name_of(metric)}.")
    labels = setup_labels(data.setups)
    leader = ranked[0]
    leader_label = labels[group_key(leader["method"], leader["params"])]
    if len(ranked) == 1:
        seeds = "a single seed (n=1)" if leader["n"] == 1 else count(leader["n"], "seed")
        return Verdict(
            None,
            f"{leader_label} is the only method with a result: {name_of(metric)} "
            f"{_value(leader, metric)} over {seeds}.",
        )
    shown = f"{name_of(metric)}, {_value(leader, metric)}"
    extreme = "highest" if style_of(metric).higher_is_better else "lowest"
    winner = data.winner
    best = None if winner is None else _group_of(ranked, winner)
    if winner is None or best is None:
        reason = _why_no_winner(ranked)
        return Verdict(
            None,
            f"{leader_label} has the {extreme} {shown}, but {reason}, so no winner is declared.",
        )
    label = labels[group_key(best["method"], best["params"])]
    sentence = f"{label} {_choice(winner)} {_reported(data, winner, best)}"
    sentence += f" {_comparison(data, best)}"
    if leader is not best:
        sentence += f" {leader_label} has the {extreme} {shown}, which had no part in the choice."
    return Verdict(best, sentence)


def _group_of(groups: list[Group], winner: Winner) -> Group | None:
    key = group_key(winner["method"], winner["params"])
    return next((g for g in groups if group_key(g["method"], g["params"]) == key), None)


def _why_no_winner(ranked: list[Group]) -> str:
    if all(group["n"] == 1 for group in ranked):
        return "every result here is from a single seed (n=1)"
    if all(_incomplete(group) or group["n"] == 1 for group in ranked):
        return "no method has two seeds or more of which none was pruned or failed"
    return "these results record no choice on the validation split"


def _choice(winner: Winner) -> str:
    style = style_of(winner["chosen_by"])
    extreme = "highest" if style.higher_is_better else "lowest"
    value = style.spread(winner["mean"], winner["std"], None) + style.unit
    return (
        f"has the {extreme} mean {name_of(winner['chosen_by'])}, {value} over "
        f"{count(winner['n'], 'seed')}, and was chosen by it."
    )


def _reported(data: ReportData, winner: Winner, best: Group) -> str:
    """What the split that had no part in the choice says; or that it is the same one."""
    metric = data.ranking_metric
    told = f"Its {name_of(metric)} is {_value(best, metric)}"
    if metric.partition("/")[0] == winner["chosen_by"].partition("/")[0]:
        return f"{told}, on the split that chose it: too optimistic for a result."
    return f"{told}."


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
    """`difference` with its interval and corrected p-value, and the conclusion from them."""
    style = style_of(data.ranking_metric)
    p, tests = versus.get("p_holm"), versus.get("comparisons", 0)
    facts = [count(versus["n"], "shared seed")]
    if bounds := versus.get("interval", versus["ci95"]):
        noise = versus.get("noise", "seeds")
        shown = " to ".join(style.difference_bounds(versus["mean"], bounds))
        facts.insert(0, f"95% interval over {noise} {shown}")
    if p is None:
        return f"{difference} ({', '.join(facts)}), has no p-value and was not tested."
    corrected = f", Holm-corrected for {tests} comparisons" if tests > 1 else ""
    claim = f"{difference} ({', '.join(facts)}, {p_text(p)}{corrected})"
    if versus.get("verdict") == "distinguishable":
        return f"{claim}, is distinguishable from 0."
    if versus.get("verdict") == "not tested":
        return f"{claim}, gives no verdict: that takes three shared seeds."
    return f"{claim}, is not distinguishable from 0."


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
