"""Pareto: what students are worth against what they cost."""

from __future__ import annotations

from collections.abc import Sequence

from flexkd_platform.results import GroupCost, JobFiles, group_costs

from ...cost_figure import COSTS, CostPoint, cost_figure, cost_of_point, pareto
from ...labels import GroupKey, group_key, sentence_case, setup_labels
from ...metric_styles import style_of, title_of
from ..blocks import Heading, Note, Plot, Table
from ..forms import Form, Select
from ..jobs_chosen import (
    NO_JOBS,
    chosen_jobs,
    job_field,
    jobs_with_results,
    of_storage,
    others_field,
)
from ..page import Block, Page, View
from ..query import Query
from ..sources import Sources

TITLE = "Pareto"
MOST_JOBS = 20
ABSENT = "–"
LEAD = "Which students are worth their cost: no other one is better and cheaper."
MEASURED_BY = (
    "Latency is the wall time of one forward pass over one test example of median length, the "
    "shortest of five, measured by each evaluation on its device, where other trials may run at "
    "the same time. Of a group it is the median over the seeds. A CPU counts no memory by model: "
    "weights in memory are known, the peak is not."
)


def build(sources: Sources, query: Query) -> View:
    """The groups of one job, and of others on the same data."""
    ids = jobs_with_results(sources)
    if not ids:
        return View(TITLE, [Note(NO_JOBS)])
    jobs, others = same_data(chosen_jobs(sources, query, ids, MOST_JOBS))
    now = jobs[0].folder.id
    points = _points(jobs)
    students = [point.group for point in points if not point.teacher]
    metrics = list(dict.fromkeys(name for group in students for name in group.metrics))
    metric = query.text("metric") if query.text("metric") in metrics else next(iter(metrics), "")
    cost = query.text("cost") if query.text("cost") in COSTS else "parameters"
    form = Form(
        [
            job_field(ids, now),
            others_field(ids, now),
            Select("metric", "Quality", {m: sentence_case(title_of(m)) for m in metrics}, metric),
            Select("cost", "Cost", {n: sentence_case(c.title) for n, c in COSTS.items()}, cost),
        ]
    )
    blocks: list[Block] = [form]
    if others:
        left = ", ".join(job.folder.id for job in others)
        blocks.append(Note(f"Left out, because they evaluate other data: {left}.", notice=True))
    if not students:
        return View(TITLE, [*blocks, Note("No trial has finished yet.")], LEAD)
    figure = cost_figure(points, cost, metric)
    table = _table(points, cost, metric)
    if figure is None:
        blocks += [Note(_unknown(cost), notice=True), table]
    else:
        blocks += [Heading("Quality and cost"), Plot(figure, table)]
    return View(TITLE, [*blocks, Note(MEASURED_BY)], LEAD)


def same_data(jobs: Sequence[JobFiles]) -> tuple[list[JobFiles], list[JobFiles]]:
    """The jobs on the data of the first one, and the others."""
    wanted = _data(jobs[0])
    same = [job for job in jobs if job is jobs[0] or _data(job) & wanted]
    return same, [job for job in jobs if job not in same]


def _data(job: JobFiles) -> set[str]:
    """The hashes of a job's data sets."""
    return {step["hash"] for step in job.results["steps"] if step["kind"] == "dataset"}


def _points(jobs: Sequence[JobFiles]) -> list[CostPoint]:
    groups = [(job, group) for job in jobs for group in group_costs(job)]
    names: dict[GroupKey, str] = setup_labels([(g.method, g.params) for _, g in groups])
    found = []
    for job, group in groups:
        label = names[group_key(group.method, group.params)]
        found.append(CostPoint(label if len(jobs) == 1 else f"{label}, {job.folder.id}", group))
    return [*found, *_teacher(jobs[0])]


def _teacher(job: JobFiles) -> list[CostPoint]:
    """The teacher of a job, whose parameters and metrics are known."""
    found = job.results["teacher"]
    if not found or found["parameters"] is None:
        return []
    metrics = {name: {"mean": value, "std": None} for name, value in found["metrics"].items()}
    group = GroupCost("teacher", {}, 1, metrics, found["parameters"], None)
    return [CostPoint("teacher", group, teacher=True)]


def _unknown(cost: str) -> str:
    what = COSTS[cost].title.partition(" (")[0]
    if cost == "peak":
        return f"The {what} is not known: no student was evaluated on a GPU by this version."
    return (
        f"The {what} is not known: these students were evaluated by an earlier version, which did "
        "not measure it, or on several devices."
    )


def _table(points: Sequence[CostPoint], cost: str, metric: str) -> Table:
    best = {point.label for point in pareto(points, cost, metric)}
    style = style_of(metric)
    rows = []
    for point in points:
        group, found = point.group, point.group.metrics.get(metric)
        quality = ABSENT if found is None else style.spread(found["mean"], found["std"], group.n)
        rows.append(
            [
                point.label,
                ABSENT if point.teacher else "yes" if point.label in best else "no",
                str(group.n),
                quality,
                *(_number(point, name) for name in COSTS),
                ", ".join(group.devices) or ABSENT,
            ]
        )
    header = [
        *("group", "on the front", "seeds", title_of(metric)),
        *(axis.title for axis in COSTS.values()),
        "device",
    ]
    return Table("pareto", "Quality and cost of every group", header, rows)


def _number(point: CostPoint, cost: str) -> str:
    value = cost_of_point(point, cost)
    return ABSENT if value is None else f"{value:{COSTS[cost].format}}"


PARETO = Page("pareto", TITLE, of_storage(build))
