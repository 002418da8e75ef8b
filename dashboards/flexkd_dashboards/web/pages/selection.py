"""Selection: the importance of the teacher's units, and what selections have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flexkd_platform.results import JobFiles

from ...labels import group_key, setup_labels
from ...report_data import ImportanceCurve, Spectrum
from ...selection_data import (
    TrialPairs,
    importance_curves_of,
    same_pairs,
    selections_of,
    spectra_of,
    trial_pairs_of,
)
from ...selection_figures import (
    Cells,
    importance_curves,
    matrix,
    overlaps,
    rank_agreement,
    rank_agreements,
    selection_labels,
    unit_overlap,
)
from ...spectrum_figure import spectra_figure
from ..blocks import Heading, Note, Plot, Table
from ..forms import Form
from ..jobs_chosen import chosen_jobs, job_field, jobs_with_results, of_storage, others_field
from ..page import Block, Page, View
from ..query import Query
from ..sources import Sources

TITLE = "Selection"
MOST_JOBS = 8
MOST_CURVES = 8
"""Selections whose importance is drawn; the tables have all."""
MOST_COMPARED = 40
"""Selections, and students, that are compared with one another."""

ABSENT = "–"
NO_SELECTION = "No selection: of the methods, only flexkd selects units before it trains."
LEAD = "What the teacher's output depends on, which units were selected, and how stable that is."


def build(sources: Sources, query: Query) -> View:
    """The selections of one job, and of others beside it."""
    ids = jobs_with_results(sources)
    if not ids:
        return View(
            TITLE, [Note("No job in the storage has results yet: run one with flexkd run.")]
        )
    jobs = chosen_jobs(sources, query, ids, MOST_JOBS)
    now = jobs[0].folder.id
    blocks: list[Block] = [Form([job_field(ids, now), others_field(ids, now)])]
    curves = _curves(jobs)
    if not curves:
        blocks.append(Note(NO_SELECTION))
        return View(TITLE, blocks, LEAD)
    blocks += _importance(curves, jobs)
    blocks += _spectra([spectrum for job in jobs for spectrum in _named_spectra(job, jobs)])
    blocks += _overlaps(curves)
    blocks += _pairs(jobs)
    return View(TITLE, blocks, LEAD)


def _curves(jobs: Sequence[JobFiles]) -> list[ImportanceCurve]:
    return [
        replace(curve, label=_prefixed(job, jobs, curve.label))
        for job in jobs
        for curve in importance_curves_of(job)
    ]


def _named_spectra(job: JobFiles, jobs: Sequence[JobFiles]) -> list[Spectrum]:
    return [replace(one, label=_prefixed(job, jobs, one.label)) for one in spectra_of(job)]


def _prefixed(job: JobFiles, jobs: Sequence[JobFiles], label: str) -> str:
    return label if len(jobs) == 1 else f"{job.folder.id}, {label}"


def _importance(curves: Sequence[ImportanceCurve], jobs: Sequence[JobFiles]) -> list[Block]:
    figure = importance_curves(curves[:MOST_CURVES])
    assert figure is not None, "there are curves"
    blocks: list[Block] = [Heading("Importance and selection"), Plot(figure, _units(curves))]
    if len(curves) > MOST_CURVES:
        blocks.append(
            Note(f"The figure shows the first {MOST_CURVES} of {len(curves)} selections.")
        )
    return [*blocks, _summary(curves, jobs)]


def _units(curves: Sequence[ImportanceCurve]) -> Table:
    """Every unit of every selection, by rank."""
    rows = []
    for label, curve in zip(selection_labels(curves), curves, strict=True):
        order = sorted(range(len(curve.importance)), key=lambda u: (-curve.importance[u], u))
        chosen = set(curve.units)
        rows += [
            [
                label,
                str(rank),
                str(unit),
                f"{curve.importance[unit]:.6g}",
                "yes" if unit in chosen else "no",
            ]
            for rank, unit in enumerate(order, start=1)
        ]
    header = ["selection", "rank", "unit", "G", "selected"]
    return Table("units", "Importance of every unit", header, rows)


def _summary(curves: Sequence[ImportanceCurve], jobs: Sequence[JobFiles]) -> Table:
    entries = [entry for job in jobs for entry in selections_of(job)]
    rows = []
    for label, entry in zip(selection_labels(curves), entries, strict=True):
        geometry, stability = entry.get("geometry") or {}, entry.get("stability") or {}
        rows.append(
            [
                label,
                f"{entry['d_student']} of {entry['d_teacher']}",
                f"{entry['kept_share']:.1%}",
                _dimension(geometry),
                _share(stability.get("units")),
                _share(stability.get("pairs")),
            ]
        )
    header = [
        *("selection", "units", "share of ΣG", "effective dimension"),
        *("units of two halves", "ranks of two halves"),
    ]
    note = (
        "Of two halves of the data: the Jaccard index of the selected units, and the share of "
        "ranks with the same unit. The error of the effective dimension is half the difference of "
        "the halves; it needs score.geometry."
    )
    return Table("selections", "Selections", header, rows, note=note)


def _dimension(geometry: Any) -> str:
    if "effective_dimension" not in geometry:
        return ABSENT
    error = geometry.get("effective_dimension_error")
    return f"{geometry['effective_dimension']}" + ("" if error is None else f" ± {error:g}")


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3f}"


def _spectra(spectra: Sequence[Spectrum]) -> list[Block]:
    figure = spectra_figure(spectra)
    if figure is None:
        return [Note("No spectrum: no score of these jobs kept moments (score.geometry: true).")]
    rows = [
        [
            one.label,
            str(one.dimension),
            ABSENT if one.error is None else f"{one.error:g}",
            str(len(one.values)),
        ]
        for one in spectra
    ]
    header = ["score", "effective dimension", "error", "dimensions"]
    note = "How many directions hold 95% of the trace, and half the difference of two halves."
    heading = Heading("Spectrum and effective dimension")
    return [
        heading,
        Plot(figure, Table("spectra", "Effective dimensions", header, rows, note=note)),
    ]


def _overlaps(curves: Sequence[ImportanceCurve]) -> list[Block]:
    some = curves[:MOST_COMPARED]
    heading = Heading("Overlap of selections")
    overlap, ranks = unit_overlap(some), rank_agreement(some)
    assert overlap is not None, "there are curves"
    if ranks is None:
        units = ", ".join(map(str, sorted(some[0].units)))
        return [heading, Plot(overlap, f"The selected units are {units}.")]
    labels = selection_labels(some)
    return [
        Plot(
            overlap, matrix_table("overlap", "Jaccard index of the units", labels, overlaps(some))
        ),
        Plot(
            ranks, matrix_table("ranks", "Share of the same ranks", labels, rank_agreements(some))
        ),
    ]


def _pairs(jobs: Sequence[JobFiles]) -> list[Block]:
    """How many units keep their pair, between the finished students of the jobs."""
    found: list[tuple[JobFiles, TrialPairs]] = []
    left = 0
    for job in jobs:
        pairs, unread = trial_pairs_of(job, max(0, MOST_COMPARED - len(found)))
        left += unread
        found += [(job, one) for one in pairs]
    if len(found) < 2:
        return []
    names = setup_labels([one.setup for _, one in found])
    labels = []
    for place, (job, one) in enumerate(found, start=1):
        label = f"{names[group_key(*one.setup)]}, seed {one.seed}, layer {one.pairs.teacher}"
        labels.append(f"{place}: {_prefixed(job, jobs, label)}")
    cells = [[same_pairs(one, other) for _, other in found] for _, one in found]
    figure = matrix(
        labels,
        cells,
        name="kept-pairs",
        title="Units that keep their pair",
        caption="Share of the student's units that two finished students paired with the same "
        "teacher unit. It compares positions: of students that start from the same units, a low "
        "share means that the pairing is not stable. Columns are numbered as the rows; other "
        "layers, other widths and directions are not compared."
        + (f" {left} more students are not shown." if left else ""),
    )
    heading = Heading("Stability of pairs")
    return [
        heading,
        Plot(figure, matrix_table("kept-pairs", "Share of the same pairs", labels, cells)),
    ]


def matrix_table(name: str, title: str, labels: Sequence[str], cells: Cells) -> Table:
    """A measure of each pair as a table."""
    header = ["", *(str(place + 1) for place in range(len(labels)))]
    rows = [
        [label, *(ABSENT if cell is None else f"{cell:.3f}" for cell in row)]
        for label, row in zip(labels, cells, strict=True)
    ]
    return Table(name, title, header, rows)


SELECTION = Page("selection", TITLE, of_storage(build))
