"""Errors: where a group errs, and the examples on which two groups disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flexkd_platform.results import (
    Disagreement,
    GroupOutputs,
    JobFiles,
    class_counts,
    confusion,
    disagreements,
    evaluated_sets,
    example_rows,
    group_outputs,
    inputs_of,
)
from flexkd_platform.spec import MultilabelTask

from ...confusion_figure import confusion_figure
from ...labels import count
from ...markup import Markup, tag
from ..blocks import Cell, Heading, Note, Plot, Table
from ..forms import Field, Form, Select
from ..jobs_chosen import (
    NO_JOBS,
    Trial,
    chosen_jobs,
    group_label,
    groups_of,
    job_field,
    jobs_with_results,
    of_storage,
)
from ..page import Block, Page, View
from ..query import Query
from ..sources import Sources

TITLE = "Errors"
LEAD = "Where students err, and the examples on which two groups of students disagree."
ROWS_A_PAGE = 20
SHOWN = 160
"""Letters of a text that are shown before it is folded."""

DECIDED = frozenset({"class", "classes"})
"""Forms whose predictions are right or wrong."""

SHARED = 40
"""Letters from which on the common start of all texts is folded."""

FILTERS = {
    "": "all disagreements",
    "first": "only the first is right",
    "second": "only the second is right",
    "neither": "neither is right",
}


def build(sources: Sources, query: Query) -> View:
    """Two groups of one job, on one evaluated set."""
    ids = jobs_with_results(sources)
    if not ids:
        return View(TITLE, [Note(NO_JOBS)])
    (job,) = chosen_jobs(sources, query, ids, 1)
    groups = groups_of(job)
    if not groups:
        form = Form([job_field(ids, job.folder.id)])
        return View(TITLE, [form, Note("No trial of this job has finished yet.")], LEAD)
    first, second = _chosen(query, "first", groups, 0), _chosen(query, "second", groups, -1)
    labels = {value: group_label(job, trials[0]) for value, trials in groups.items()}
    sets = evaluated_sets(job, groups[first][0])
    name = query.text("set") if query.text("set") in sets else sets[0]
    seed, seeds = _seed(query, groups[first], groups[second])
    ours, theirs = (
        group_outputs(job, _of_seed(groups[one], seed), name, _cut(job)) for one in (first, second)
    )
    fields: list[Field] = [
        job_field(ids, job.folder.id),
        Select("set", "Split or set", {one: one for one in sets}, name),
        Select("first", "First group", labels, first),
        Select("second", "Second group", labels, second),
        Select("seed", "Seed", {"": "all seeds", **{str(one): str(one) for one in seeds}}, seed),
    ]
    if ours.form in DECIDED:
        fields.append(Select("right", "Examples", FILTERS))
    blocks: list[Block] = [Form(fields), *_mistakes(ours, labels[first])]
    blocks.append(Heading("Disagreements"))
    if first == second:
        blocks.append(Note("Choose two different groups to see where they disagree."))
    else:
        texts = inputs_of(example_rows(job, groups[first][0], name))
        both = (labels[first], labels[second])
        blocks += _disagreements(ours, theirs, texts, both, query.text("right"))
    return View(TITLE, blocks, LEAD)


def _seed(
    query: Query, first: Sequence[Trial], second: Sequence[Trial]
) -> tuple[str, Sequence[int]]:
    """The seed that a query names, "" for all; and the seeds that both groups have."""
    shared = sorted({trial["seed"] for trial in first} & {trial["seed"] for trial in second})
    wanted = query.text("seed")
    return wanted if wanted in map(str, shared) else "", shared


def _of_seed(trials: Sequence[Trial], seed: str) -> list[Trial]:
    return [trial for trial in trials if seed in ("", str(trial["seed"]))]


def _chosen(query: Query, name: str, groups: Mapping[str, Sequence[Trial]], default: int) -> str:
    """A group that a query names; after a change of the job, another one."""
    wanted = query.text(name)
    return wanted if wanted in groups else list(groups)[default]


def _cut(job: JobFiles) -> float:
    """The logit above which a multi-label task predicts a class, where no evaluation chose it."""
    task = job.spec().task
    if not isinstance(task, MultilabelTask) or not isinstance(task.threshold, float):
        return 0.0
    return math.log(task.threshold / (1 - task.threshold))


def _mistakes(outputs: GroupOutputs, label: str) -> list[Block]:
    """The confusion matrix, or what there is in its place."""
    found = confusion(outputs)
    if found is not None:
        rows = [
            [name, *map(str, row), str(sum(row))]
            for name, row in zip(found.names, found.counts, strict=True)
        ]
        header = ["label", *(f"predicted {name}" for name in found.names), "all"]
        table = Table("confusion", f"Labels and predictions of {label}", header, rows)
        return [Heading("Confusion matrix"), Plot(confusion_figure(found, label), table)]
    if outputs.form != "classes":
        return []
    counts = class_counts(outputs)
    header = ["class", "true positive", "false positive", "false negative", "true negative"]
    rows = [
        [
            one.name,
            str(one.true_positive),
            str(one.false_positive),
            str(one.false_negative),
            str(one.true_negative),
        ]
        for one in counts
    ]
    note = f"Summed over {count(len(outputs.seeds), 'seed')}."
    heading = Heading("Decisions by class")
    return [
        heading,
        Table("confusion", f"Decisions on each class by {label}", header, rows, note=note),
    ]


def _disagreements(
    ours: GroupOutputs,
    theirs: GroupOutputs,
    texts: Sequence[str],
    labels: tuple[str, str],
    right: str,
) -> list[Block]:
    found = disagreements(ours, theirs)
    only = right if ours.form in DECIDED and right in FILTERS else ""
    shown = [one for one in found if only in ("", one.right)]
    counts = f"{labels[0]} and {labels[1]} differ on {len(found):,} of {len(ours):,} examples"
    if found and ours.form in DECIDED:
        by = {name: sum(one.right == name for one in found) for name in FILTERS if name}
        counts += (
            f": {by['first']:,} that only the first has right, {by['second']:,} that only the "
            f"second has right, {by['neither']:,} that neither has"
        )
    if not shown:
        return [Note(f"{counts}." + (" None of them is of the chosen kind." if found else ""))]
    table = _texts_table if ours.form == "text" else _predictions_table
    return [Note(f"{counts}. {HOW[ours.form]}"), table(shown, ours, theirs, texts, labels)]


HOW = {
    "class": "A group predicts what most of its seeds predict; beside it, how many do.",
    "classes": "A group predicts the classes that more than half of its seeds predict; beside it, "
    "how many predict exactly these.",
    "number": "A group predicts the mean of its seeds. The largest differences come first.",
    "text": "Texts are those of one seed, the first one unless it is chosen; scores are means over "
    "the seeds that are shown. The largest differences of the first score come first.",
}
"""How a group's predictions are one, by form."""


def _predictions_table(
    shown: Sequence[Disagreement],
    ours: GroupOutputs,
    theirs: GroupOutputs,
    texts: Sequence[str],
    labels: tuple[str, str],
) -> Table:
    skipped = shared_start(texts)
    rows: list[list[Cell | str]] = [
        [
            str(one.example),
            folded(texts[one.example], skipped),
            ours.shown(one.expected),
            _vote(ours, ours.shown(one.first), one.first_agrees),
            _vote(theirs, theirs.shown(one.second), one.second_agrees),
        ]
        for one in shown
    ]
    header = ["example", "text", "label", *labels]
    title = "Examples on which the two groups disagree"
    return Table("disagreements", title, header, rows, 5, rows_a_page=ROWS_A_PAGE)


def _vote(outputs: GroupOutputs, shown: str, agreeing: int) -> str:
    if outputs.form == "number" or len(outputs.seeds) == 1:
        return shown
    return f"{shown} ({agreeing} of {len(outputs.seeds)})"


def _texts_table(
    shown: Sequence[Disagreement],
    ours: GroupOutputs,
    theirs: GroupOutputs,
    texts: Sequence[str],
    labels: tuple[str, str],
) -> Table:
    metric = next((name for name in ours.scores if name in theirs.scores), None)
    skipped = shared_start(texts)
    rows: list[list[Cell | str]] = []
    for one in shown:
        row: list[Cell | str] = [
            str(one.example),
            folded(texts[one.example], skipped),
            folded(ours.shown(one.expected)),
            folded(ours.shown(one.first)),
            folded(theirs.shown(one.second)),
        ]
        if metric is not None:
            row += [f"{side.scores[metric][one.example]:.3f}" for side in (ours, theirs)]
        rows.append(row)
    header = ["example", "prompt", "reference", *labels]
    if metric is not None:
        header += [f"{metric} of {label}" for label in labels]
    title = "Generated texts that differ"
    return Table("disagreements", title, header, rows, 5, rows_a_page=ROWS_A_PAGE)


def folded(text: str, skipped: int = 0) -> Cell:
    """A text whose end is folded if it is long; files have all of it.

    skipped: letters at its start that all texts have in common, which are folded, too.
    """
    if not text:
        return Cell(text, content=tag("span", "(empty)", class_="more"))
    rest = text[skipped:].lstrip()
    if not skipped and len(text) <= SHOWN:
        return Cell(text, content=tag("span", text, class_="text"))
    cut = rest.rfind(" ", SHOWN // 2, SHOWN) if len(rest) > SHOWN else len(rest)
    before = tag("span", "… ", class_="more") if skipped else Markup()
    after = tag("span", " …", class_="more") if len(rest) > SHOWN else Markup()
    summary = tag("summary", before, rest[: cut if cut > 0 else SHOWN], after)
    return Cell(
        text, content=tag("details", summary, tag("div", text, class_="text"), class_="fold")
    )


def shared_start(texts: Sequence[str]) -> int:
    """Letters of the lines that all texts start with, as those of a template; 0 if they are few."""
    if len(texts) < 2:
        return 0
    first, last = min(texts), max(texts)
    letters = zip(first, last, strict=False)
    start = next((n for n, (one, other) in enumerate(letters) if one != other), len(first))
    whole = first.rfind("\n", 0, start) + 1
    return whole if whole >= SHARED else 0


ERRORS = Page("errors", TITLE, of_storage(build))
