"""Checks of the rows of a student: how many have a label, and what the others serve."""

from __future__ import annotations

from collections.abc import Iterator

from ..data import DataFacts
from ..plan import ImportanceConfig, labelled_rows
from ..spec import ClassificationTask, JobSpec, Problem, ResponseTask, counted

LABELS, UNLABELLED = "student.labels", "student.unlabelled"


def student_row_problems(spec: JobSpec, data: DataFacts | None) -> list[Problem]:
    """The problems of `student.labels` and `student.unlabelled`."""
    labels = spec.student.labels
    if isinstance(labels, float) and not 0 < labels < 1:
        remedy = "a share between 0 and 1, or a number of rows"
        return [Problem(LABELS, f"{labels!r} is not a share of the rows", remedy)]
    if isinstance(labels, int) and labels < 1:
        return [Problem(LABELS, f"{labels} rows with a label", "1 or more")]
    found = list(_unlabelled_problems(spec))
    if data is not None and not found:
        found += _size_problems(spec, data.sizes["train"], data.classes)
    return found


def _unlabelled_problems(spec: JobSpec) -> Iterator[Problem]:
    """The problems of unlabelled rows that do not depend on their number."""
    unlabelled = spec.student.unlabelled
    shown = str(unlabelled).lower()
    if unlabelled is False:
        return
    importance = ImportanceConfig.of(spec.score, spec.task.kind)
    if isinstance(spec.task, ResponseTask):
        yield Problem(
            UNLABELLED,
            f"{shown}, but in {spec.task.kind} every term of the loss reads the response",
            "set unlabelled: false, or train on the teacher's responses with seqkd",
        )
    elif spec.score.aggregation == "batch" and importance.reads_labels:
        yield Problem(
            UNLABELLED,
            f"{shown}, but score.aggregation: batch scores every training batch, and "
            f"{importance.output} reads its labels",
            "set score.aggregation: global, or leave score.output out",
        )
    if spec.student.labels == "all" and not _swept(spec):
        yield Problem(
            UNLABELLED, f"{shown}, but every row has a label", "set student.labels, or leave it out"
        )
    if not any(method.uses_features or method.uses_outputs for method in spec.sweep.methods):
        yield Problem(
            UNLABELLED,
            f"{shown}, but no method of the sweep reads the teacher",
            "add a method as kd or flexkd, or leave unlabelled out",
        )
    if unlabelled is not True and unlabelled < 1:
        yield Problem(UNLABELLED, f"{shown} rows", "1 or more, true or false")


def _swept(spec: JobSpec) -> bool:
    """Whether other points of the sweep have fewer labels: `all` is then the upper end."""
    return any(value != "all" for value in spec.sweep.axes.get(LABELS, ())) or (
        LABELS in spec.sweep.space
    )


def _size_problems(spec: JobSpec, rows: int, classes: int | None) -> Iterator[Problem]:
    labels = labelled_rows(spec.student.labels, rows)
    if labels > rows:
        yield Problem(
            LABELS,
            f"{labels} requested, but train has {counted(rows, 'example')}",
            f"at most {rows}",
        )
        return
    fewest = classes if isinstance(spec.task, ClassificationTask) and classes else 1
    if labels < fewest:
        message = f"{labels} labelled, but there are {fewest} classes"
        yield Problem(LABELS, message, f"at least {fewest}")
    unlabelled = spec.student.unlabelled
    if not isinstance(unlabelled, bool) and unlabelled > rows - labels:
        yield Problem(
            UNLABELLED,
            f"{unlabelled} requested, but {rows - labels} of {rows} examples have no label",
            "true for all of them, or a smaller number",
        )
