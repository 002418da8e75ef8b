"""Representations: what a student and its teacher compute on a few examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flexkd_platform.representations import (
    Activations,
    ActivationsRequest,
    Correlations,
    CorrelationsRequest,
    Failed,
    Request,
    Result,
    Side,
    Similarity,
    SimilarityRequest,
    Subject,
    Waiting,
    Worker,
    cached,
    subject_of,
)
from flexkd_platform.results import JobFiles
from flexkd_platform.spec import Problem, SpecError
from flexkd_platform.store import StoreError

from ...labels import count
from ...markup import joined, tag
from ...representation_figures import (
    QUANTILES,
    Curve,
    activation_figure,
    correlation_figure,
    similarity_figure,
    training_correlation_figure,
)
from ..blocks import Heading, Note, Plot, Table
from ..forms import Form, Select, Text
from ..jobs_chosen import (
    NO_JOBS,
    Trial,
    chosen_jobs,
    finished_trials,
    group_label,
    job_field,
    jobs_with_results,
    of_storage,
)
from ..page import Block, Page, View
from ..query import Query
from ..selection import problem_notes
from ..sources import Sources

TITLE = "Representations"
LEAD = "What a student and its teacher compute, from the published weights."
SHORT = 12
"""Characters of a hash in a link."""

WORKER = Worker()
"""Computes the answers for all requests to this process, one at a time."""

AGAIN_SECONDS = 2
"""After which a page that waits asks again."""

SIDES: tuple[Side, ...] = ("teacher", "student")

COMPUTE = "compute"
"""The parameter with the names of what may be computed."""


def build(sources: Sources, query: Query) -> View:
    """One student of one job."""
    ids = jobs_with_results(sources)
    if not ids:
        return View(TITLE, [Note(NO_JOBS)])
    (job,) = chosen_jobs(sources, query, ids, 1)
    trials = finished_trials(job)
    if not trials:
        form = Form([job_field(ids, job.folder.id)])
        return View(TITLE, [form, Note("No trial of this job has finished yet.")], LEAD)
    trial, notes = _chosen(query, trials)
    subject = subject_of(job, trial["hash"])
    page = _OnDemand(job, query)
    form = _form(job, ids, trials, trial)
    blocks: list[Block] = [
        form,
        *notes,
        Heading("Correlation of paired units"),
        *_over_training(job, trial),
        *page.correlations(subject),
        Heading("Similarity of layers"),
        *page.similarity(subject),
        Heading("Activation magnitudes"),
        *page.activations(subject),
    ]
    if page.waits:
        # Without figures: an open page is updated in place until it is complete.
        return View(TITLE, [form, Note(_waiting(page.waits))], LEAD, refresh=AGAIN_SECONDS)
    return View(TITLE, blocks, LEAD)


def _waiting(waits: Sequence[tuple[str, int]]) -> str:
    """What is being computed, and how many other requests come before it."""
    what = ", ".join(name for name, _ in waits)
    ahead = min(number for _, number in waits)
    behind = f" after {count(ahead, 'other request')}" if ahead else ""
    return f"Being computed{behind}: {what}. This page shows all when it is there."


def _form(job: JobFiles, ids: Sequence[str], trials: Sequence[Trial], now: Trial) -> Form:
    students = {
        one["hash"][:SHORT]: f"{group_label(job, one)}, seed {one['seed']}" for one in trials
    }
    return Form(
        [
            job_field(ids, job.folder.id),
            Select("student", "Student", students, now["hash"][:SHORT]),
            Text("row", "Example of the validation split", hint="0"),
            Text("teacher-layer", "Teacher layer", hint="last"),
            Text("student-layer", "Student layer", hint="last"),
            Text("threshold", "Show as 0 below", hint="0"),
        ],
        kept=[COMPUTE],
    )


def _label(job: JobFiles, trial: Trial) -> str:
    return f"{group_label(job, trial)}, seed {trial['seed']}"


def _chosen(query: Query, trials: Sequence[Trial]) -> tuple[Trial, list[Block]]:
    """The student that a query names by the start of its hash, or the last one, which is told."""
    wanted = query.text("student")
    found = [trial for trial in trials if wanted and trial["hash"].startswith(wanted)]
    if found or not wanted:
        return (found or trials[-1:])[0], []
    # As after a change of the job in the form.
    return trials[-1], [Note(f"This job has no finished student {wanted}; this is another one.")]


def _over_training(job: JobFiles, trial: Trial) -> list[Block]:
    """C_m of the student over its training, from its log."""
    try:
        log = job.training_log(trial["hash"])
    except StoreError:
        return [Note("The training log of this student is not in the storage any more.")]
    curve: Curve = {
        entry.step: (values[0], values[1], values[2])
        for entry in log
        if len(values := [entry.values[name] for name in QUANTILES if name in entry.values]) == 3
    }
    figure = training_correlation_figure({_label(job, trial): curve})
    if figure is None:
        return [
            Note(
                "The training log has no correlation: only flexkd with its correlation loss pairs "
                "units and logs it, and earlier versions did not."
            )
        ]
    rows = [[str(step), *(f"{value:.4f}" for value in values)] for step, values in curve.items()]
    header = ["step", "5%", "median", "95%"]
    return [Plot(figure, Table("training-correlation", "Quantiles of C", header, rows))]


class _OnDemand:
    """The parts of a page that need a forward pass: shown if known, computed if asked for.

    waits: what is being computed, and how many requests come before.
    """

    def __init__(self, job: JobFiles, query: Query) -> None:
        self._job, self._query = job, query
        self.waits: list[tuple[str, int]] = []

    def correlations(self, subject: Subject) -> list[Block]:
        """C of each pair of units."""
        found = self._answer("units", CorrelationsRequest(subject), "the correlation of each pair")
        return _correlations(found) if isinstance(found, Correlations) else self._notes(found)

    def similarity(self, subject: Subject) -> list[Block]:
        """CKA of all pairs of layers."""
        found = self._answer("cka", SimilarityRequest(subject), "linear CKA of all pairs of layers")
        return _similarity(found) if isinstance(found, Similarity) else self._notes(found)

    def activations(self, subject: Subject) -> list[Block]:
        """The magnitudes of the teacher and of the student."""
        row, threshold = _row(self._query), _threshold(self._query)
        return [block for side in SIDES for block in self._of_side(subject, side, row, threshold)]

    def _of_side(self, subject: Subject, side: Side, row: int, threshold: float) -> list[Block]:
        layer = self._query.text(f"{side}-layer") or "last"
        request = ActivationsRequest(subject, side, row, int(layer) if layer.isdigit() else layer)
        found = self._answer(side, request, f"the activation magnitudes of the {side}")
        if not isinstance(found, Activations):
            return self._notes(found)
        figure = activation_figure(found, threshold, name=f"{side}-activations", whose=side)
        return [Plot(figure, _by_token(found, threshold, side))]

    def _answer(self, name: str, request: Request, what: str) -> Result | Waiting | Failed | _Offer:
        """The answer, if it is known or asked for."""
        if name in self._query.all(COMPUTE):
            found = WORKER.ask(self._job, request)
            if isinstance(found, Waiting):
                self.waits.append((what, found.ahead))
            return found
        known = cached(request)
        return _Offer(name, what) if known is None else known

    def _notes(self, found: object) -> list[Block]:
        """Why there is no answer; nothing while it is computed, which the page says as a whole."""
        if isinstance(found, Failed):
            return list(problem_notes(found.problems))
        if not isinstance(found, _Offer):
            return []
        href = self._query.link(**{COMPUTE: [*self._query.all(COMPUTE), found.name]})
        return [Note(joined(tag("a", f"Compute {found.what}", href=href), f". {COST}"))]


COST = (
    "It loads the published weights on the CPU of this server, reads a few examples of the "
    "validation split, and is kept for later."
)


@dataclass(frozen=True)
class _Offer:
    """What could be computed. name: in the link. what: in words."""

    name: str
    what: str


def _correlations(found: Correlations) -> list[Block]:
    rows = [
        [str(layer.student), str(unit), str(layer.teacher), str(theirs), f"{value:.4f}"]
        for layer in found.layers
        for unit, (theirs, value) in enumerate(zip(layer.matched, layer.correlation, strict=True))
    ]
    header = ["student layer", "student unit", "teacher layer", "paired with", "C"]
    return [Plot(correlation_figure(found), Table("units", "C of every pair", header, rows))]


def _similarity(found: Similarity) -> list[Block]:
    header = ["student layer", *(f"teacher {layer}" for layer in found.teacher_layers)]
    rows = [
        [str(layer), *("–" if value is None else f"{value:.4f}" for value in row)]
        for layer, row in zip(found.student_layers, found.cka, strict=True)
    ]
    return [Plot(similarity_figure(found), Table("cka", "Linear CKA", header, rows))]


def _by_token(found: Activations, threshold: float, side: str) -> Table:
    """The largest unit of each token, and the share of units that are shown as 0."""
    rows = []
    for place, (token, values) in enumerate(zip(found.tokens, found.magnitudes, strict=True)):
        largest = max(range(len(values)), key=lambda unit, of=values: of[unit])  # type: ignore[misc]
        low = sum(value < threshold for value in values) / len(values)
        mean = math.fsum(values) / len(values)
        rows.append(
            [
                str(place + 1),
                token,
                f"{mean:.4g}",
                f"{values[largest]:.4g}",
                str(largest),
                f"{low:.1%}",
            ]
        )
    header = ["token", "text", "mean |h|", "largest |h|", "its unit", "below the threshold"]
    note = f"Layers of this model: {', '.join(map(str, found.layers))}."
    title = f"Activation magnitudes of the {side}, by token"
    return Table(f"{side}-activations", title, header, rows, 2, note)


def _row(query: Query) -> int:
    text = query.text("row") or "0"
    if not (text.isascii() and text.isdigit()):
        raise _wrong("row", f"{text!r} is not the number of an example", "give 0, 1, 2, …")
    return int(text)


def _threshold(query: Query) -> float:
    text = query.text("threshold") or "0"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _wrong("threshold", f"{text!r} is not a number from 0 on", "give a number, as 0.5")
    return value


def _wrong(name: str, message: str, remedy: str) -> SpecError:
    return SpecError([Problem(name, message, remedy)])


REPRESENTATIONS = Page("representations", TITLE, of_storage(build))
