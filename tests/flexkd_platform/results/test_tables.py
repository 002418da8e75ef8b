"""The leaderboard says n=1 where there is no spread, and the same in every format."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from flexkd_core.statistics import Comparison, CrossedMean, Summary, compare, corrected, summarise
from flexkd_platform.results.comparison import Group
from flexkd_platform.results.tables import PERCENT, leaderboard
from flexkd_platform.spec import TASK_KINDS, Published

ACCURACY = "test/accuracy"
MSE = "test/mse"


def group(method: str, values: dict[int, float], metric: str = ACCURACY, **changes: Any) -> Group:
    fields: dict[str, Any] = {
        "method": method,
        "params": {},
        "n": len(values),
        "seeds": tuple(values),
        "metrics": {metric: summarise(values.values())},
        "versus": None,
        "settings": {},
    }
    return Group(**(fields | changes))


def compared(ours: dict[int, float], baseline: dict[int, float]) -> Comparison:
    """The only comparison."""
    return corrected([compare(ours, baseline)])[0]


OURS, THEIRS = {10: 0.75, 20: 0.79, 30: 0.74}, {10: 0.70, 20: 0.72, 30: 0.71}
FLEX = group(
    "flexkd",
    OURS,
    params={"alpha": 0.5, "beta": 1.0, "distill.learning_rate": 3e-4},
    versus={ACCURACY: compared(OURS, THEIRS)},
)
FT = group("ft", THEIRS)


def rows(*groups: Group, metric: str = ACCURACY, **options: Any) -> list[list[str]]:
    text = leaderboard(groups, metrics=[metric], format="markdown", **options)
    return [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines()]


def test_accuracy_is_in_percent_with_its_spread_interval_and_difference() -> None:
    header, _, flex, ft = rows(FLEX, FT)
    assert header[:5] == ["method", "params", "n", "test/accuracy %", "95% interval"]
    assert header[5] == "vs baseline (p: Holm over 1)"
    # By hand: mean 0.76, std √0.0007 = 0.026458, t(0.975, 2) = 4.30265, half 0.065724;
    # differences 0.05, 0.07, 0.03: mean 0.05, std 0.02, half 0.049683, t = 4.3301, p = 0.0494.
    assert flex == [
        "flexkd",
        "α=0.5, β=1, learning_rate=0.0003",
        "3",
        "76.00 ± 2.65",
        "[69.43, 82.57]",
        "+5.00 [+0.03, +9.97] p=0.049 *",
    ]
    assert ft[-1] == "–"


def test_errors_are_not_in_percent() -> None:
    header, _, row = rows(group("ft", {1: 0.5, 2: 0.75}, metric=MSE), metric=MSE)
    assert header[3] == MSE
    assert row[3] == "0.6250 ± 0.1768"


def test_one_seed_has_no_spread_rather_than_none_at_all() -> None:
    one = group("flexkd", {10: 0.75}, versus={ACCURACY: compared({10: 0.75}, THEIRS)})
    row = rows(one)[2]
    assert row[3:] == ["75.00 (n=1)", "–", "+5.00 (n=1)"]
    assert "±" not in "".join(row)


def test_a_metric_without_a_mean_is_a_dash() -> None:
    assert rows(group("ft", {1: 0.5}, metrics={}))[2][3:] == ["–", "–"]


def test_published_numbers_stand_beside_ours() -> None:
    reference = [
        Published(method="flexkd", metric="accuracy", mean=0.9148, std=0.002, source="Table 1"),
        Published(method="flexkd", metric="mse", mean=3.0),
    ]
    header, _, flex, ft = rows(FLEX, FT, reference=reference)
    assert header[-1] == "published"
    assert (flex[-1], ft[-1]) == ("91.48 ± 0.20", "–")
    assert "published" not in rows(FT, reference=reference)[0]


def test_the_terminal_shows_what_the_document_does() -> None:
    table = leaderboard([FLEX, FT], metrics=[ACCURACY])
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(table)
    shown = console.export_text()
    for row in rows(FLEX, FT)[2:]:
        for cell in row:
            assert cell in shown


def test_markdown_survives_a_bar_in_a_value() -> None:
    text = leaderboard([group("ft", {1: 0.5}, params={"a": "x|y"})], metrics=[], format="markdown")
    assert text.splitlines()[2] == "| ft | a=x\\|y | 1 |"


def test_csv_keeps_full_precision_and_leaves_the_unknown_empty() -> None:
    reference = [Published(method="ft", metric="accuracy", mean=0.7)]
    text = leaderboard([FLEX, FT], metrics=[ACCURACY], format="csv", reference=reference)
    flex, ft = csv.DictReader(io.StringIO(text))
    assert json.loads(flex["params"]) == FLEX.params
    assert float(flex[f"{ACCURACY} mean"]) == FLEX.metrics[ACCURACY].mean
    assert FLEX.versus is not None
    assert float(flex[f"{ACCURACY} versus_p_t"]) == FLEX.versus[ACCURACY].p_t
    assert flex[f"{ACCURACY} versus_p_wilcoxon"] == ""
    assert ft[f"{ACCURACY} versus_mean"] == ""
    assert FLEX.versus[ACCURACY].p_holm == float(flex[f"{ACCURACY} versus_p_holm"])
    named = {
        name: flex[f"{ACCURACY} versus_{name}"] for name in ("comparisons", "verdict", "noise")
    }
    assert named == {"comparisons": "1", "verdict": "distinguishable", "noise": "seeds"}
    assert float(flex[f"{ACCURACY} interval_low"]) == float(flex[f"{ACCURACY} ci95_low"])
    assert (flex[f"{ACCURACY} published"], ft[f"{ACCURACY} published"]) == ("", "0.7")


@pytest.mark.parametrize(
    ("lost", "shown"),
    [
        ({}, "2"),
        ({"pruned": 1}, "2 (1 pruned)"),
        ({"failed": 2}, "2 (2 failed)"),
        ({"pruned": 1, "failed": 2}, "2 (1 pruned, 2 failed)"),
    ],
)
def test_trials_that_did_not_finish_are_counted_beside_those_that_did(
    lost: dict[str, int], shown: str
) -> None:
    one = group("ft", {1: 0.5, 2: 0.6}, **lost)
    assert rows(one)[2][2] == shown
    (row,) = csv.DictReader(io.StringIO(leaderboard([one], metrics=[ACCURACY], format="csv")))
    told = {"n": "2", "pruned": str(one.pruned), "failed": str(one.failed)}
    assert {name: row[name] for name in told} == told


def test_json_is_that_of_the_results_with_what_was_published() -> None:
    reference = [Published(method="ft", metric="accuracy", mean=0.7)]
    flex, ft = json.loads(
        leaderboard([FLEX, FT], metrics=[ACCURACY], format="json", reference=reference)
    )
    assert flex["metrics"][ACCURACY]["mean"] == FLEX.metrics[ACCURACY].mean
    assert "published" not in flex
    assert ft["published"][ACCURACY]["mean"] == 0.7


def test_small_p_values_are_not_shown_as_zero() -> None:
    ours = {seed: 0.9 + seed / 1e6 for seed in range(6)}
    close = compared(ours, dict.fromkeys(range(6), 0.5))
    row = rows(group("kd", ours, versus={ACCURACY: close}))[2]
    assert "p=0.000" not in row[-1]
    assert "e-" in row[-1].split("p=")[1]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are table, markdown, csv, json"):
        leaderboard([FT], metrics=[ACCURACY], format="xml")  # type: ignore[call-overload]


def test_equal_seeds_have_no_interval_of_no_width() -> None:
    same = group("ft", {1: 0.5, 2: 0.5}, metrics={ACCURACY: Summary(2, 0.5, 0.0, (0.5, 0.5))})
    assert rows(same)[2][3:] == ["50.00 ± 0.00", "–"]
    kd = group(
        "kd", {1: 0.6, 2: 0.6}, versus={ACCURACY: compared({1: 0.6, 2: 0.6}, {1: 0.5, 2: 0.5})}
    )
    assert rows(kd)[2][-1] == "+10.00"


def test_p_is_corrected_and_a_verdict_needs_three_seeds() -> None:
    ours, two = {10: 0.75, 20: 0.79, 30: 0.74}, {10: 0.75, 20: 0.7703}
    first, second = corrected([compare(ours, THEIRS), compare(two, THEIRS)])
    header, _, *shown = rows(
        group("kd", ours, versus={ACCURACY: first}), group("cka", two, versus={ACCURACY: second})
    )
    assert header[-1] == "vs baseline (p: Holm over 2)"
    # The smaller p, 0.0019 of two seeds, is doubled and gets no star; 0.0494 stays and has one.
    assert [row[-1].split("p=")[1] for row in shown] == ["0.049 *", "0.004"]


def test_intervals_over_seeds_and_examples_are_shown() -> None:
    both = CrossedMean(3, 100, 0.76, 0.01, 0.02, (0.7, 0.82), 0.0)
    flex = replace(FLEX, crossed={ACCURACY: both})
    assert rows(flex, FT)[2][4] == "[70.00, 82.00]"
    text = leaderboard([flex, FT], metrics=[ACCURACY], format="csv")
    ours, ft = csv.DictReader(io.StringIO(text))
    assert (ours[f"{ACCURACY} noise"], ft[f"{ACCURACY} noise"]) == ("seeds and examples", "seeds")
    caption = leaderboard([flex, FT], metrics=[ACCURACY]).caption
    assert "over seeds and test examples where outputs are known, else over seeds" in str(caption)
    assert "over seeds alone" in str(leaderboard([FT], metrics=[ACCURACY]).caption)


SHARES = {
    *("accuracy", "f1", "accuracy_f1"),
    *("micro_f1", "macro_f1", "subset_accuracy", "hamming_loss", "average_precision"),
    *("rouge1", "rouge2", "rougeL", "bertscore"),
}


@pytest.mark.parametrize("task", TASK_KINDS)
def test_metrics_that_are_shares_are_in_percent(task: str) -> None:
    assert {m for kind in TASK_KINDS.values() for m in kind.metrics} >= SHARES == PERCENT
    for metric in TASK_KINDS[task].metrics:
        name = f"self-inst/{metric}"
        values = {10: 0.25, 20: 0.75}
        header, _, row = rows(group("kd", values, name), metric=name)
        # By hand: mean 0.5, std √0.125 = 0.353553.
        if metric in SHARES:
            assert (header[3], row[3]) == (f"{name} %", "50.00 ± 35.36")
        else:
            assert (header[3], row[3]) == (name, "0.5000 ± 0.3536")
        full = leaderboard([group("kd", values, name)], metrics=[name], format="json")
        assert json.loads(full)[0]["metrics"][name]["mean"] == 0.5
