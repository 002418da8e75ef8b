"""The report: one self-contained HTML page that needs no network."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any

from . import tables
from .figure import Figure
from .figure_markup import framed, labels_of
from .figures import report_figures
from .labels import count, sentence_case
from .markup import Content, Markup, escaped, joined, tag
from .measured import noise_text
from .metric_styles import name_of, style_of, title_of
from .report_data import ReportData
from .report_header import header
from .svg import NARROW, WIDE, Drawing, draw
from .theme import css_variables
from .verdict import Verdict, reach_verdict

Drawings = Mapping[str, tuple[Drawing, Drawing]]
"""The wide and the narrow drawing of each figure."""

CUT_SHORT = {
    "running": "This job was still running when this page was generated.",
    "interrupted": "This job was interrupted. What follows is what had finished by then.",
    "failed": "This job failed. What follows is what had finished by then.",
}


def render_report(data: ReportData) -> str:
    """The whole page as one string; the same data give the same page.

    Figures are SVG, which need no script; the one of the page shows values under the pointer. The
    page's security policy forbids every request: it works from a file, offline, alone.
    """
    figures = report_figures(data)
    drawings = {f.name: (draw(f, WIDE), draw(f, NARROW)) for f in figures}
    verdict = reach_verdict(data)
    parts = (
        _results(data, verdict),
        _search(data),
        _figures(figures, drawings),
        _cut(data, "failed"),
        _cut(data, "pruned"),
        _data(data),
        _teacher(data),
        _texts(data),
        _steps(data),
        _spec(data),
        _versions(data),
    )
    sections = [part for part in parts if part is not None]
    return Template(_page_file("page.html")).substitute(
        title=escaped(f"{data.job['name']} · flexkd"),
        colours=css_variables(),
        css=_page_file("page.css"),
        header=header(data),
        main=joined(_contents(sections), _notice(data), *(s.markup for s in sections)),
        figures=_hover_json(drawings),
        js=_page_file("page.js"),
    )


def _notice(data: ReportData) -> Markup:
    text = CUT_SHORT.get(data.job["status"])
    return (
        tag("section", tag("p", text, class_="notice"), aria_label="Notice") if text else Markup()
    )


@dataclass(frozen=True)
class _Section:
    """A part of the page with a heading, which the table of contents lists."""

    name: str
    title: str
    markup: Markup


def _section(name: str, title: str, *contents: Content) -> _Section:
    heading = tag("h2", title, id=f"{name}-title")
    markup = tag("section", heading, *contents, id=name, aria_labelledby=f"{name}-title")
    return _Section(name, title, markup)


def _contents(sections: Sequence[_Section]) -> Markup:
    """The table of contents."""
    entries = (tag("li", tag("a", each.title, href=f"#{each.name}")) for each in sections)
    return tag("nav", tag("ul", *entries), class_="contents", aria_label="Contents")


def _results(data: ReportData, verdict: Verdict) -> _Section:
    contents: list[Content] = [tag("p", verdict.sentence, class_="verdict")]
    if data.groups:
        contents.append(_teacher_notice(data))
        contents.append(tables.leaderboard(data, verdict))
        contents.append(tag("p", _leaderboard_note(data), class_="note"))
        if len(data.metrics) > 1:
            contents.append(tables.other_metrics(data))
    if data.reference:
        contents += [tag("h3", "Published numbers"), tables.published_list(data)]
    return _section("results", "Results", *contents)


def _search(data: ReportData) -> _Section | None:
    search = data.search
    if search is None or not search["best"]:
        return None
    note = (
        f"{count(search['samples'], 'point')} of each searched method, {search['kind']}. "
        "Points are chosen on the validation split, by the mean over all seeds; the results above "
        "are of all points."
    )
    if refused := len(search.get("refused", ())):
        note += f" {count(refused, 'sampled point')} excluded as invalid."
    table = tables.chosen(search)
    return _section("search", "Chosen on validation", table, tag("p", note, class_="note"))


def _leaderboard_note(data: ReportData) -> str:
    metric = data.ranking_metric
    direction = "Higher" if style_of(metric).higher_is_better else "Lower"
    note = (
        f"{direction} is better. std is the sample standard deviation over n seeds; 95% intervals "
        f"are over {noise_text(data)}."
    )
    if data.baseline is None:
        return note
    return (
        f"{note} Differences are paired over the seeds shared with {data.baseline}. p is corrected "
        "by Holm's method for the number of comparisons beside it; * marks a difference that is "
        "distinguishable from 0: three seeds or more and a corrected p below 0.05. g is Hedges' "
        "paired effect size. Tests over examples are of these trained students, not corrected."
    )


def _teacher_notice(data: ReportData) -> Markup:
    """A warning if the teacher is not better than its students."""
    found = () if data.teacher is None else data.teacher.get("no_worse", ())
    if not found:
        return Markup()
    text = (
        f"The teacher is not better than {len(found)} of {count(len(data.groups), 'group')} of "
        f"students by {name_of(data.ranking_metric)}: it has little to teach them. Train it "
        "longer, or use a stronger one."
    )
    return tag("p", text, class_="notice")


def _figures(figures: Sequence[Figure], drawings: Drawings) -> _Section | None:
    if not figures:
        return None
    return _section("figures", "Figures", *(_figure(f, drawings[f.name]) for f in figures))


def _figure(figure: Figure, drawings: tuple[Drawing, Drawing]) -> Markup:
    plot = tag(
        "div",
        *(drawing.svg for drawing in drawings),
        id=f"plot-{figure.name}",
        class_="plot",
        role="img",
        aria_labelledby=labels_of(figure),
    )
    return framed(figure, plot)


def _cut(data: ReportData, status: str) -> _Section | None:
    """The trials that did not finish."""
    trials = [trial for trial in data.trials if trial["status"] == status]
    if not trials:
        return None
    note = Markup()
    if status == "pruned":
        text = "Stopped early for doing worse than others by then; they are excluded from means."
        note = tag("p", text, class_="note")
    return _section(status, f"{status.title()} trials", note, tables.cut_trials(trials, status))


def _data(data: ReportData) -> _Section | None:
    if not data.splits:
        return None
    leaks = [
        f"{rows:,} of {split['rows']:,} {name} examples {verb} {how} in {other}"
        for name, split in data.splits.items()
        for how, other, rows in (
            ("also", "train", split.get("also_in_train", 0)),
            ("also", "test", split.get("also_in_test", 0)),
            ("nearly", "train", split.get("nearly_in_train", 0)),
            ("nearly", "test", split.get("nearly_in_test", 0)),
        )
        for verb in ["is" if rows == 1 else "are"]
        if rows
    ]
    warning = f"Leakage: {'; '.join(leaks)}. Their metrics may be too high."
    notice = [tag("p", warning, class_="notice")] if leaks else []
    return _section("data", "Data", *notice, tables.splits(data))


def _teacher(data: ReportData) -> _Section | None:
    if data.teacher is None:
        return None
    facts = {
        sentence_case(title_of(metric)): style_of(metric).number(value)
        for metric, value in data.teacher["metrics"].items()
    }
    parameters = data.teacher["parameters"]
    if parameters is not None:
        facts = {"Parameters": f"{parameters:,}"} | facts
    entries = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items())
    return _section("teacher", "Teacher", tag("dl", *entries, class_="facts"))


def _texts(data: ReportData) -> _Section | None:
    """How many texts are truncated, and what ROUGE reads as words."""
    contents: list[Content] = []
    if data.texts.get("lengths"):
        contents.append(tables.lengths(data.texts["lengths"]))
    if rules := data.texts.get("rouge_tokenizer"):
        shown = "; ".join(f"{name}: {rule}" for name, rule in rules.items())
        contents.append(tag("p", f"Words of ROUGE, {shown}.", class_="note"))
    return _section("texts", "Texts", *contents) if contents else None


def _steps(data: ReportData) -> _Section | None:
    if not data.steps:
        return None
    summary = tag("summary", f"{count(len(data.steps), 'step')}, {_step_counts(data)}")
    return _section("steps", "Steps", tag("details", summary, tables.steps(data)))


def _step_counts(data: ReportData) -> str:
    statuses = Counter(step["status"] for step in data.steps)
    return ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))


def _spec(data: ReportData) -> _Section:
    lines = count(len(data.spec_yaml.splitlines()), "line")
    block = tag("pre", tag("code", data.spec_yaml), tabindex="0", aria_label="Spec in YAML")
    return _section("spec", "Spec", tag("details", tag("summary", f"spec.yaml, {lines}"), block))


def _versions(data: ReportData) -> _Section | None:
    if not data.versions:
        return None
    return _section("versions", "Versions", tables.versions(data))


def _hover_json(drawings: Drawings) -> str:
    """The values under the pointer, by figure and width: x, y, and the text as an index.

    `<` is escaped, since it could end the script element.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for name, (wide, narrow) in drawings.items():
        texts: dict[tuple[str, str], int] = {}

        def points(drawing: Drawing, texts: dict[tuple[str, str], int] = texts) -> list[Any]:
            return [
                [hover.x, hover.y, texts.setdefault((group, hover.text), len(texts))]
                for group, hover in drawing.hovers
            ]

        found[name] = {"wide": points(wide), "narrow": points(narrow), "texts": list(texts)}
    text = json.dumps(found, separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c")


def _page_file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
