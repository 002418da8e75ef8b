"""The report: one self-contained HTML page that needs no network."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from string import Template

from plotly.offline import get_plotlyjs

from . import tables
from .figure import Figure
from .figure_markup import figure_json, figure_markup
from .figures import report_figures
from .labels import count, duration, sentence_case
from .markup import Content, Markup, escaped, joined, tag
from .metric_styles import name_of, style_of, title_of
from .report_data import ReportData
from .theme import css_variables
from .verdict import Verdict, reach_verdict

CUT_SHORT = {
    "running": "This job was still running when this page was generated.",
    "interrupted": "This job was interrupted. What follows is what had finished by then.",
    "failed": "This job failed. What follows is what had finished by then.",
}


def render_report(data: ReportData) -> str:
    """The whole page as one string; the same data give the same page.

    plotly.js is inlined once, and the page's security policy forbids every request, so that it
    works from a file, offline, without any other resource.
    """
    figures = report_figures(data)
    verdict = reach_verdict(data)
    sections = (
        _results(data, verdict),
        _search(data),
        _figures(figures),
        _cut(data, "failed"),
        _cut(data, "pruned"),
        _data(data),
        _teacher(data),
        _texts(data),
        _steps(data),
        _spec(data),
        _versions(data),
    )
    return Template(_page_file("page.html")).substitute(
        title=escaped(f"{data.job['name']} · flexkd"),
        colours=css_variables(),
        css=_page_file("page.css"),
        header=_header(data),
        main=joined(_notice(data), *sections),
        figures=figure_json(figures),
        plotly=get_plotlyjs(),
        js=_page_file("page.js"),
    )


def _header(data: ReportData) -> Markup:
    job = data.job
    facts: dict[str, Content] = {
        "Status": tables.status_mark(job["status"]),
        "Wall time": duration(job["seconds"]),
        "Trials": _trial_counts(data),
        "Spec hash": tag("code", job["spec_hash"][: tables.SHORT_HASH], title=job["spec_hash"]),
    }
    return joined(
        tag("p", "Distillation report", class_="eyebrow"),
        tag("h1", job["name"]),
        tag(
            "dl",
            *(tag("div", tag("dt", term), tag("dd", fact)) for term, fact in facts.items()),
            class_="facts",
        ),
    )


def _trial_counts(data: ReportData) -> str:
    statuses = Counter(trial["status"] for trial in data.trials)
    parts = ", ".join(f"{number} {status}" for status, number in sorted(statuses.items()))
    return f"{len(data.trials)} ({parts})" if parts else "none"


def _notice(data: ReportData) -> Markup:
    text = CUT_SHORT.get(data.job["status"])
    return (
        tag("section", tag("p", text, class_="notice"), aria_label="Notice") if text else Markup()
    )


def _section(name: str, title: str, *contents: Content) -> Markup:
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, *contents, id=name, aria_labelledby=f"{name}-title")


def _results(data: ReportData, verdict: Verdict) -> Markup:
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


def _search(data: ReportData) -> Markup:
    search = data.search
    if search is None or not search["best"]:
        return Markup()
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
    spreads = [group["metrics"][metric] for group in data.groups if metric in group["metrics"]]
    noises = {spread.get("noise", "seeds") for spread in spreads}
    noise = "seeds and test examples" if "seeds and examples" in noises else "seeds alone"
    if len(noises) > 1:
        noise += " where there is more than one seed"
    note = (
        f"{direction} is better. std is the sample standard deviation over n seeds; 95% intervals "
        f"are over {noise}."
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


def _figures(figures: tuple[Figure, ...]) -> Markup:
    if not figures:
        return Markup()
    hint = "<noscript><p>The figures need JavaScript; the tables do not.</p></noscript>"
    return _section("figures", "Figures", Markup(hint), *map(figure_markup, figures))


def _cut(data: ReportData, status: str) -> Markup:
    """The trials that did not finish."""
    trials = [trial for trial in data.trials if trial["status"] == status]
    if not trials:
        return Markup()
    note = Markup()
    if status == "pruned":
        text = "Stopped early for doing worse than others by then; they are excluded from means."
        note = tag("p", text, class_="note")
    return _section(status, f"{status.title()} trials", note, tables.cut_trials(trials, status))


def _data(data: ReportData) -> Markup:
    if not data.splits:
        return Markup()
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


def _teacher(data: ReportData) -> Markup:
    if data.teacher is None:
        return Markup()
    facts = {
        sentence_case(title_of(metric)): style_of(metric).number(value)
        for metric, value in data.teacher["metrics"].items()
    }
    parameters = data.teacher["parameters"]
    if parameters is not None:
        facts = {"Parameters": f"{parameters:,}"} | facts
    entries = (tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items())
    return _section("teacher", "Teacher", tag("dl", *entries, class_="facts"))


def _texts(data: ReportData) -> Markup:
    """How many texts are truncated, and what ROUGE reads as words."""
    contents: list[Content] = []
    if data.texts.get("lengths"):
        contents.append(tables.lengths(data.texts["lengths"]))
    if rules := data.texts.get("rouge_tokenizer"):
        shown = "; ".join(f"{name}: {rule}" for name, rule in rules.items())
        contents.append(tag("p", f"Words of ROUGE, {shown}.", class_="note"))
    return _section("texts", "Texts", *contents) if contents else Markup()


def _steps(data: ReportData) -> Markup:
    if not data.steps:
        return Markup()
    return _section("steps", "Steps", tables.steps(data))


def _spec(data: ReportData) -> Markup:
    lines = count(len(data.spec_yaml.splitlines()), "line")
    block = tag("pre", tag("code", data.spec_yaml), tabindex="0", aria_label="Spec in YAML")
    return _section("spec", "Spec", tag("details", tag("summary", f"spec.yaml, {lines}"), block))


def _versions(data: ReportData) -> Markup:
    if not data.versions:
        return Markup()
    return _section("versions", "Versions", tables.versions(data))


def _page_file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
