"""What the report dares to say about the best method."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flexkd_dashboards import ReportData, reach_verdict, render_report


def with_p(report: ReportData, results: dict[str, Any], p: float | None) -> ReportData:
    for group in results["groups"]:
        if group["versus"]:
            group["versus"]["test/accuracy"]["p_t"] = p
    return replace(report, results=results)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.2, "is not distinguishable from 0."),
        (0.03, "if taken alone, but not after a Bonferroni correction for the 6 comparisons"),
        (0.001, "also after a Bonferroni correction for the 6 comparisons"),
        (None, "has no p-value."),
        (float("nan"), "has no p-value."),
    ],
)
def test_strength_of_the_claim(
    report: ReportData, results: dict[str, Any], p: float | None, expected: str
) -> None:
    verdict = reach_verdict(with_p(report, results, p))
    assert verdict.best is not None
    assert verdict.best["method"] == "flexkd"
    assert expected in verdict.sentence


def test_one_comparison_needs_no_correction(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"] = [results["groups"][0], results["groups"][-1]]
    sentence = reach_verdict(with_p(report, results, 0.03)).sentence
    assert sentence.endswith("is distinguishable from 0.")


def test_no_winner_on_one_seed_among_others(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"][1] |= {
        "n": 1,
        "metrics": {"test/accuracy": {"mean": 0.99, "std": None, "ci95": None}},
    }
    verdict = reach_verdict(replace(report, results=results))
    assert verdict.best is not None
    assert verdict.best["method"] == "flexkd"
    assert "kd shows 99.00% on a single seed" in verdict.sentence


def test_baseline_that_wins(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"][0]["metrics"]["test/accuracy"]["mean"] = 0.99
    assert "It is the baseline itself." in reach_verdict(replace(report, results=results)).sentence


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


@pytest.mark.parametrize("status", ["pruned", "failed"])
def test_a_group_with_trials_that_did_not_finish_is_no_winner(
    report: ReportData, status: str
) -> None:
    """Its seeds that finished are those that went well."""
    leader = reach_verdict(report).best
    assert leader is not None
    groups = [{**group, status: int(group is leader)} for group in report.groups]
    changed = replace(report, results={**report.results, "groups": groups})
    best, sentence = reach_verdict(changed).best, reach_verdict(changed).sentence
    assert best is not None
    assert sentence.startswith("Of the methods whose seeds all finished, "), "it is not the highest"
    assert (best["method"], best["params"]) != (leader["method"], leader["params"])
    page = render_report(changed)
    assert f"{leader['n']} (1 {status})" in page


@pytest.mark.parametrize("lost", [{"pruned": 1}, {"failed": 2}, {"pruned": 1, "failed": 1}])
def test_without_a_complete_group_no_winner_is_named(
    report: ReportData, lost: dict[str, int]
) -> None:
    groups = [{**group, **lost} for group in report.groups]
    verdict = reach_verdict(replace(report, results={**report.results, "groups": groups}))
    assert verdict.best is None
    assert "of which none was pruned or failed" in verdict.sentence
