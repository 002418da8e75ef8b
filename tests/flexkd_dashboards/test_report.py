"""The page as HTML: what it holds, that it asks for nothing, and the poor cases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from flexkd_dashboards import ImportanceCurve, ReportData, TrainingCurve, render_report
from flexkd_dashboards.metric_figure import metric_figure

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Elements, and the text of those that are asked for."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.starts)

    def ids(self) -> list[str]:
        return [value for _, attributes in self.starts if (value := attributes.get("id"))]

    @property
    def text(self) -> str:
        visible = (text for tag, text in self.texts if tag not in ("script", "style"))
        return re.sub(r"\s+", " ", " ".join(visible))


def page_of(data: ReportData) -> Page:
    return Page(render_report(data))


def badges(page: Page) -> int:
    return sum(attributes.get("class") == "badge" for _, attributes in page.starts)


def hovers_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="figure-data" type="application/json">(.*?)</script>', html)
    assert found
    figures: dict[str, Any] = json.loads(found[1])
    return figures


def svg_of(html: str, name: str) -> str:
    found = re.search(rf'id="plot-{name}".*?(<svg.*?</svg>)</div>', html, flags=re.DOTALL)
    assert found
    return found[1]


def test_sections_tables_and_figures(report: ReportData) -> None:
    page = page_of(report)
    assert not page.open
    assert page.starts[0] == ("html", {"lang": "en"})
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {"results", "figures", "teacher", "steps", "spec", "versions"} <= set(ids)
    assert [i for i in ids if i.startswith("plot-")] == [
        f"plot-{name}" for name in ("metric", "loss", "validation", "importance", "units")
    ]
    assert page.count("figure") == page.count("figcaption") == 5
    assert page.count("h1") == 1
    assert page.count("table") == page.count("caption") == 4


def test_every_label_points_at_something(report: ReportData) -> None:
    page = page_of(report)
    for _, attributes in page.starts:
        for name in (attributes.get("aria-labelledby") or "").split():
            assert name in page.ids()


def test_table_headers_have_a_scope_and_scrolling_regions_take_focus(report: ReportData) -> None:
    page = page_of(report)
    scopes = [attributes.get("scope") for tag, attributes in page.starts if tag == "th"]
    assert scopes
    assert set(scopes) == {"col", "row"}
    regions = [a for _, a in page.starts if a.get("class") == "scroll"]
    assert regions
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)


def test_leaderboard_says_what_was_measured(report: ReportData) -> None:
    text = page_of(report).text
    for expected in ("87.66 ± 0.56", "[85.57, 89.75]", "+1.71", "88.40 ± 0.20", "22,713,984"):
        assert expected in text
    assert "12 min 14 s" in text
    assert "Saadi & Wang 2025, Table 2" in text
    assert badges(page_of(report)) == 1


def test_asks_for_nothing(report: ReportData) -> None:
    html = render_report(report)
    assert not re.search(r"@import|url\((?!#)|//[a-z0-9]|fetch\(|XMLHttpRequest", html)
    page = Page(html)
    loads = [
        (tag, name, value)
        for tag, attributes in page.starts
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "poster", "data")
    ]
    assert [load for load in loads if not str(load[2]).startswith("#")] == [
        ("link", "href", "data:,")
    ]
    policy = next(a["content"] for _, a in page.starts if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_the_same_data_give_the_same_page(make_report: Callable[..., ReportData]) -> None:
    assert render_report(make_report()) == render_report(make_report())


def test_names_are_text_wherever_they_appear(report: ReportData, results: dict[str, Any]) -> None:
    results["job"] |= {"name": EVIL, "status": EVIL, "spec_hash": EVIL}
    results["steps"][0] |= {"kind": EVIL, "hash": EVIL, "status": EVIL, "reason": EVIL}
    results["teacher"]["metrics"][EVIL] = 0.5
    params = {EVIL: EVIL, "alpha": 0.5}
    results["groups"][0] |= {"method": EVIL, "params": params}
    results["trials"][0] |= {"method": EVIL, "params": params, "status": "failed", "reason": EVIL}
    data = replace(
        report,
        results=results,
        spec_yaml=f"name: {EVIL}\n",
        curves=(TrainingCurve(EVIL, params, 1, (1,), (1.0,), {EVIL: ((1, 0.5),)}),),
        importance=(ImportanceCurve(EVIL, (1.0, 2.0), (1,)),) * 2,
        versions={EVIL: EVIL},
        reference=(replace(report.reference[0], method=EVIL, source=EVIL),),
    )
    html = render_report(data)
    assert "<script>alert" not in html
    page = Page(html)
    assert page.count("script") == 2
    assert not page.open
    assert EVIL in page.text
    shown = [text for figure in hovers_of(html).values() for _, text in figure["texts"]]
    assert any(EVIL in text for text in shown)  # as text: the script sets textContent


def test_placeholders_in_a_name_stay_text(report: ReportData) -> None:
    data = replace(report, importance=(ImportanceCurve("%{x}", (1.0, 2.0), (1,)),) * 2)
    html = render_report(data)
    assert "1: %{x}" in svg_of(html, "overlap")
    assert any("1: %{x}" in text for _, text in hovers_of(html)["importance"]["texts"])


def test_figures_are_there_without_a_script_and_the_page_is_small(report: ReportData) -> None:
    html = render_report(report)
    assert len(html.encode()) < 2_000_000
    for name in ("metric", "loss", "validation", "importance", "units"):
        drawn = svg_of(html, name)
        assert drawn.count("<svg") == 2, "one for wide screens, one for narrow ones"
        assert "NaN" not in drawn
        assert drawn.count('class="trace"') >= 2
        found = hovers_of(html)[name]
        assert len(found["wide"]) == len(found["narrow"]) > 0
        assert all(text < len(found["texts"]) for _, _, text in found["wide"])


def test_no_control_is_inside_an_image(report: ReportData) -> None:
    """What axe calls `nested-interactive`: readers skip everything inside `role="img"`."""
    html = render_report(report)
    images = re.findall(r'role="img".*?</div>', html, flags=re.DOTALL)
    assert len(images) == 5
    assert not any(re.search(r"<button|<a |tabindex", image) for image in images)


def test_contents_list_every_section(report: ReportData) -> None:
    page = page_of(report)
    links = [str(a["href"])[1:] for tag, a in page.starts if tag == "a"]
    headed = [i.removesuffix("-title") for i in page.ids() if i.endswith("-title")]
    assert links == headed
    assert set(links) <= set(page.ids())
    details = [a for tag, a in page.starts if tag == "details"]
    assert len(details) == 2
    assert all("open" not in each for each in details)
    assert "6 steps, 4 ran, 2 reused" in page.text


def test_head_says_when_by_whom_on_what_and_where(
    report: ReportData, results: dict[str, Any]
) -> None:
    results["job"] |= {
        "user": "ada",
        "began": "2026-11-28T19:50:00+02:00",
        "tracking": {
            "uri": "https://team/mlflow",
            "experiment": "reviews",
            "experiment_id": "7",
            "run_id": "a1",
        },
    }
    results["datasets"] = {"movie-reviews": {"train": 2000, "test": 1000}}
    for trial, size in zip(results["trials"], [2_090_690, *[1_100_000] * 20], strict=True):
        trial["parameters"] = size
    page = page_of(replace(report, results=results))
    for expected in (
        "2026-11-28 17:50 UTC by ada",
        "movie-reviews (2,000 train, 1,000 test)",
        "teacher 22.7 M, students 1.1 M to 2.09 M",
    ):
        assert expected in page.text
    links = [a["href"] for tag, a in page.starts if tag == "a"]
    runs = "https://team/mlflow/#/experiments/7/runs?workflowType=machine_learning"
    assert runs in links
    results["job"]["tracking"]["uri"] = "javascript:alert(1)"
    hostile = page_of(replace(report, results=results))
    hrefs = [str(a["href"]) for tag, a in hostile.starts if tag == "a"]
    assert all(href.startswith("#") for href in hrefs)


def one_seed(make_report: Callable[..., ReportData]) -> ReportData:
    return make_report(seeds=(10,))


def test_one_seed_has_no_spread_and_no_winner(make_report: Callable[..., ReportData]) -> None:
    page = page_of(one_seed(make_report))
    text = page.text
    assert "(n=1)" in text
    assert badges(page) == 0
    assert "no winner is declared" in text
    ours = text.replace("mean ± std", "").replace("88.40 ± 0.20", "")
    assert "±" not in ours


def test_one_seed_draws_no_error_bars_and_no_bands(make_report: Callable[..., ReportData]) -> None:
    figure = metric_figure(one_seed(make_report))
    assert figure is not None
    assert figure.plot.data
    assert not any(getattr(trace.error_y, "visible", None) for trace in figure.plot.data)
    assert not any(trace.fill for trace in figure.plot.data)


def test_one_method_without_alpha_or_flexkd(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"] = results["groups"][:1]
    results["trials"] = results["trials"][:3]
    data = replace(
        report,
        results=results,
        curves=report.curves[:3],
        importance=(),
        reference=(),
        metrics=("test/accuracy",),
    )
    html = render_report(data)
    assert list(hovers_of(html)) == ["metric", "loss", "validation"]
    assert ">ft<" in svg_of(html, "metric")
    assert "ft is the only method with a result" in page_of(data).text


def test_nothing_but_failures(report: ReportData, results: dict[str, Any]) -> None:
    results["groups"] = []
    for trial in results["trials"]:
        trial |= {"status": "failed", "metrics": {}, "reason": "loss is not finite at step 12"}
    del results["trials"][0]["reason"]
    results["job"]["status"] = "failed"
    data = replace(report, results=results, curves=(), importance=(), reference=())
    page = page_of(data)
    assert "No method has a result for test accuracy." in page.text
    assert page.text.count("loss is not finite at step 12") == 20
    assert "no reason was recorded" in page.text
    assert "This job failed" in page.text
    assert page.count("figure") == 0


def test_interrupted_before_anything(report: ReportData, results: dict[str, Any]) -> None:
    results |= {"steps": [], "teacher": {}, "trials": [], "groups": []}
    results["job"] |= {"status": "interrupted", "seconds": None}
    data = replace(
        report, results=results, curves=(), importance=(), reference=(), versions={}, baseline=None
    )
    page = page_of(data)
    assert "This job was interrupted" in page.text
    assert {"teacher", "steps", "versions", "figures"}.isdisjoint(page.ids())


def test_step_that_failed_says_why(report: ReportData, results: dict[str, Any]) -> None:
    results["steps"][-1] |= {"status": "failed", "reason": "disk full"}
    assert "disk full" in page_of(replace(report, results=results)).text


def regression(report: ReportData, results: dict[str, Any]) -> ReportData:
    for group in results["groups"]:
        group["metrics"] = {
            "test/mse": group["metrics"]["test/accuracy"],
            "test/pearson": group["metrics"]["test/f1"],
        }
        if group["versus"]:
            group["versus"] = {"test/mse": group["versus"]["test/accuracy"]}
    return replace(report, results=results, metrics=("test/mse", "test/pearson"), reference=())


def test_regression_is_not_in_percent_and_less_error_is_better(
    report: ReportData, results: dict[str, Any]
) -> None:
    chosen = {"method": "ft", "params": {}, "chosen_by": "validation/mse", "mean": 0.139}
    results["winner"] |= chosen
    text = page_of(regression(report, results)).text
    assert "ft has the lowest mean validation MSE, 0.1390 ± 0.0040 over 3 seeds" in text
    lowest = results["groups"][0]["metrics"]["test/mse"]
    assert f"Its test MSE is {lowest['mean']:.4f} ± {lowest['std']:.4f}." in text
    assert "Lower is better." in text
    table = text.partition("Methods by test MSE")[2]
    assert table.index("ft") < table.index("flexkd")
    assert "%)" not in text.partition("Figures")[0]


def test_metric_that_is_not_a_number_is_a_dash(report: ReportData, results: dict[str, Any]) -> None:
    for group in results["groups"]:
        group["metrics"]["test/accuracy"] = {"mean": float("nan"), "std": None, "ci95": None}
    text = page_of(replace(report, results=results)).text
    assert "nan" not in text.lower()
    assert "No method has a result" in text


def test_curve_that_diverged_is_still_json(report: ReportData) -> None:
    broken = replace(report.curves[0], loss=(float("nan"),) * len(report.curves[0].loss))
    html = render_report(replace(report, curves=(broken,)))
    assert "NaN" not in html
    assert hovers_of(html)["loss"]["wide"] == []
    assert "<svg" in svg_of(html, "loss")


def test_a_curve_needs_a_loss_for_each_step() -> None:
    with pytest.raises(ValueError, match="2 steps but 1 losses"):
        TrainingCurve("ft", {}, 10, (1, 2), (0.5,), {})


def test_selected_units_must_exist() -> None:
    with pytest.raises(ValueError, match="are not among the 2 units"):
        ImportanceCurve("layer 6", (0.1, 0.2), (2,))


def test_report_needs_a_metric(report: ReportData) -> None:
    with pytest.raises(ValueError, match="at least one metric"):
        replace(report, metrics=())


def test_truncated_texts_and_words_of_rouge(report: ReportData, results: dict[str, Any]) -> None:
    assert "Truncated texts" not in render_report(report)
    lengths = {"train": {"rows": 1000, "prompts": {"cut": 950, "longest": 365}}}
    results["texts"] = {"lengths": lengths, "rouge_tokenizer": {"test": "unicode"}}
    page = render_report(replace(report, results=results))
    assert "Truncated texts" in page
    assert ">950<" in page
    assert "Words of ROUGE, test: unicode." in page


def test_leakage_and_rows_that_are_left_out(report: ReportData) -> None:
    assert "data" not in page_of(report).ids()
    splits = {
        "train": {"rows": 1000, "skipped": 12, "origins": {"a": 750, "b": 250}},
        "test": {"rows": 40, "also_in_train": 36, "nearly_in_train": 1},
    }
    page = page_of(replace(report, results={**report.results, "data": splits}))
    assert "data" in page.ids()
    leak = "Leakage: 36 of 40 test examples are also in train; 1 of 40 test examples is nearly in"
    assert leak in page.text
    for words in ("Skipped", "12", "Also in train", "a 750, b 250"):
        assert words in page.text
    assert "Left out" not in page.text
