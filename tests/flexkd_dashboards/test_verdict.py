"""What the report dares to say about the best method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from flexkd_dashboards import ReportData, reach_verdict, render_report


def with_p(
    report: ReportData, results: dict[str, Any], p: float | None, verdict: str
) -> ReportData:
    for group in results["groups"]:
        if group["versus"]:
            group["versus"]["test/accuracy"] |= {"p_holm": p, "verdict": verdict}
    return replace(report, results=results)


@pytest.mark.parametrize(
    ("p", "verdict", "expected"),
    [
        (0.2, "not distinguishable", "comparisons), is not distinguishable from 0."),
        (0.03, "distinguishable", "Holm-corrected for 6 comparisons), is distinguishable from 0."),
        (0.001, "not tested", "gives no verdict: that takes three shared seeds."),
        (None, "not tested", "has no p-value and was not tested."),
    ],
)
def test_strength_of_the_claim(
    report: ReportData, results: dict[str, Any], p: float | None, verdict: str, expected: str
) -> None:
    found = reach_verdict(with_p(report, results, p, verdict))
    assert found.best is not None
    assert found.best["method"] == "flexkd"
    assert found.sentence.endswith(expected)
    assert "95% interval over seeds and examples" in found.sentence


def test_one_comparison_needs_no_correction(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"] = [results["groups"][0], results["groups"][-1]]
    results["groups"][-1]["versus"]["test/accuracy"]["comparisons"] = 1
    sentence = reach_verdict(with_p(report, results, 0.03, "distinguishable")).sentence
    assert sentence.endswith("p\xa0=\xa00.03), is distinguishable from 0.")


def test_validation_chooses_and_test_reports(report: ReportData, results: dict[str, Any]) -> None:
    sentence = reach_verdict(report).sentence
    assert "has the highest mean validation accuracy, 88.30 ± 0.40% over 3 seeds" in sentence
    assert "and was chosen by it. Its test accuracy is " in sentence
    results["groups"][1]["metrics"]["test/accuracy"]["mean"] = 0.99
    verdict = reach_verdict(replace(report, results=results))
    assert verdict.best is not None
    assert verdict.best["method"] == "flexkd", "not the best on test"
    assert "kd has the highest test accuracy, 99.00" in verdict.sentence
    assert verdict.sentence.endswith("which had no part in the choice."), "`its` is the winner's"


def test_one_split_for_both_is_named(report: ReportData, results: dict[str, Any]) -> None:
    results["winner"]["chosen_by"] = "test/accuracy"
    sentence = reach_verdict(replace(report, results=results)).sentence
    assert "on the split that chose it: too optimistic for a result" in sentence


def test_results_without_a_choice_have_no_winner(
    report: ReportData, results: dict[str, Any]
) -> None:
    """Those of earlier versions."""
    del results["winner"]
    verdict = reach_verdict(replace(report, results=results))
    assert verdict.best is None
    assert (
        "these results record no choice on the validation split, so no winner" in verdict.sentence
    )


def test_no_winner_on_single_seeds(make_report: Callable[..., ReportData]) -> None:
    verdict = reach_verdict(make_report(seeds=(10,)))
    assert verdict.best is None
    assert "every result here is from a single seed (n=1), so no winner" in verdict.sentence


def test_baseline_that_wins(report: ReportData, results: dict[str, Any]) -> None:
    results["winner"] |= {"method": "ft", "params": {}}
    assert "It is the baseline itself." in reach_verdict(replace(report, results=results)).sentence


def test_a_teacher_that_is_not_better_is_told(report: ReportData, results: dict[str, Any]) -> None:
    assert "The teacher is not better" not in render_report(report)
    results["teacher"]["no_worse"] = [{"method": "kd", "params": {}}]
    page = render_report(replace(report, results=results))
    assert "The teacher is not better than 1 of 7 groups of students by test accuracy" in page


def test_the_table_names_what_p_is_corrected_for(report: ReportData) -> None:
    page = render_report(report).replace("\xa0", " ")
    assert "(Holm, 6), g = 1.25, exact permutation over examples p = 0.04, 3 pairs" in page
    assert "95% intervals are over seeds and test examples." in page


def test_one_shared_seed_tells_nothing(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"][-1]["versus"]["test/accuracy"] |= {
        "n": 1,
        "std": None,
        "ci95": None,
        "p_t": None,
    }
    sentence = reach_verdict(replace(report, results=results)).sentence
    assert "cannot be distinguished from chance" in sentence


def test_no_shared_seed(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"][-1]["versus"] = None
    sentence = reach_verdict(replace(report, results=results)).sentence
    assert "no paired difference to ft" in sentence


def test_no_baseline(report: ReportData) -> None:
    assert "No baseline was named" in reach_verdict(replace(report, baseline=None)).sentence


@pytest.mark.parametrize(("n", "expected"), [(1, "a single seed (n=1)."), (3, "3 seeds.")])
def test_one_method_is_no_winner(
    report: ReportData, results: dict[str, Any], n: int, expected: str
) -> None:
    results["groups"] = [results["groups"][0] | {"n": n}]
    verdict = reach_verdict(replace(report, results=results))
    assert verdict.best is None
    assert verdict.sentence.startswith("ft is the only method with a result")
    assert verdict.sentence.endswith(expected)


def lost_text(lost: dict[str, int]) -> str:
    return ", ".join(f"{number} {how}" for how, number in lost.items())


@pytest.mark.parametrize("lost", [{"pruned": 1}, {"failed": 2}, {"pruned": 1, "failed": 1}])
def test_without_a_complete_group_no_winner_is_named(
    report: ReportData, lost: dict[str, int]
) -> None:
    groups = [{**group, **lost} for group in report.groups]
    results = {k: v for k, v in report.results.items() if k != "winner"}
    verdict = reach_verdict(replace(report, results={**results, "groups": groups}))
    assert verdict.best is None
    assert f"{groups[0]['n']} ({lost_text(lost)})" in render_report(
        replace(report, results={**results, "groups": groups})
    )
    assert "of which none was pruned or failed" in verdict.sentence
