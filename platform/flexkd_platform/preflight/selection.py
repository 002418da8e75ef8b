"""Checks of what a method selects from the teacher and how it pairs it, and warnings about it."""

from __future__ import annotations

from collections.abc import Iterator

from ..plan import GRADIENT_KINDS
from ..spec import CutInit, JobSpec, Problem, ResponseTask, SlicedInit, UnitSelection, counted

MOMENTS = "set score.kind: gradient, score.geometry: true, score.aggregation: global"


def selection_problems(spec: JobSpec, selection: UnitSelection, path: str) -> Iterator[Problem]:
    """The problems of a selection with the score and with the student.

    path: of the method.
    """
    yield from _moment_problems(spec, selection, path)
    if selection.directions:
        yield from _direction_problems(selection, path)
    elif selection.weights == "spectrum":
        yield Problem(
            f"{path}.weights",
            "spectrum weighs directions, but the target is units",
            "set weights: importance, or target: directions",
        )
    cut = isinstance(spec.student.init, CutInit)
    for name, value in (("select", selection.order), ("pairing", selection.pairing)):
        if value == "origin" and not cut:
            yield Problem(
                f"{path}.{name}",
                f"origin, but a {spec.student.init.kind} student is not cut from its teacher",
                f"set {name}: {'matched' if name == 'pairing' else 'highest'}, or "
                "student.init.kind: sliced",
            )
    if selection.rematch is not None and not selection.pairs_by_sample:
        yield Problem(
            f"{path}.rematch",
            f"{selection.rematch} with pairing: {selection.pairing}, which does not change",
            "set pairing: matched, or leave rematch out",
        )
    if spec.score.aggregation == "batch":
        yield from _batch_problems(selection, path)


def _moment_problems(spec: JobSpec, selection: UnitSelection, path: str) -> Iterator[Problem]:
    score = spec.score
    stored = score.kind in GRADIENT_KINDS and score.geometry and score.aggregation == "global"
    if stored:
        return
    if selection.directions:
        yield Problem(
            f"{path}.target",
            "directions require the gradients' second moment, which is not computed",
            MOMENTS,
        )
    if selection.order == "diverse":
        yield Problem(
            f"{path}.select",
            "diverse requires the features' covariance, which is not computed",
            MOMENTS,
        )


def _direction_problems(selection: UnitSelection, path: str) -> Iterator[Problem]:
    if selection.order != "highest":
        yield Problem(
            f"{path}.select",
            f"{selection.order} selects units, but the target is {selection.target}",
            "leave select out, or set target: units",
        )
    if selection.pairing == "origin":
        yield Problem(
            f"{path}.pairing",
            f"origin pairs units, but the target is {selection.target}",
            "set pairing: matched, or target: units",
        )
    if selection.weights == "importance":
        yield Problem(
            f"{path}.weights",
            f"importance weighs units, but the target is {selection.target}",
            "set weights: spectrum, or target: units",
        )


def _batch_problems(selection: UnitSelection, path: str) -> Iterator[Problem]:
    """Units that are selected from each batch are the most important ones, by rank or index."""
    if not selection.directions and selection.order not in {"highest", "diverse"}:
        yield Problem(
            f"{path}.select",
            f"{selection.order}, but score.aggregation: batch selects the most important units",
            "leave select out, or set score.aggregation: global",
        )
    if selection.pairs_by_sample:
        yield Problem(
            f"{path}.pairing",
            f"{selection.pairing}, but score.aggregation: batch selects units during the training",
            "set pairing: rank, or score.aggregation: global",
        )


def score_problems(spec: JobSpec) -> Iterator[Problem]:
    """The problems of a kind of importance that is computed from moments."""
    score = spec.score
    if score.kind == "contribution" and not score.geometry:
        yield Problem(
            "score.geometry",
            "false, but contribution is computed from the second moments",
            "set score.geometry: true, or score.kind: gradient_activation",
        )
    if score.kind == "contribution" and score.aggregation == "batch":
        yield Problem(
            "score.aggregation",
            "batch, but contribution is computed from moments over all scored examples",
            "set score.aggregation: global, or score.kind: gradient_activation",
        )


def selection_warnings(spec: JobSpec) -> Iterator[Problem]:
    """Settings that are valid, and known to do harm."""
    if not isinstance(spec.task, ResponseTask) or not isinstance(spec.student.init, SlicedInit):
        return
    for place, method in enumerate(spec.sweep.methods):
        selection = method.selection if method.uses_features else None
        if selection is None or selection.directions:
            continue
        if selection.pairing in {"rank", "index"} and selection.order != "origin":
            yield Problem(
                f"sweep.methods[{place}].pairing",
                f"{selection.pairing} pairs each unit of a sliced student with an arbitrary unit "
                "of its teacher, which costs more than the feature loss gains on generation tasks",
                "set pairing: origin or matched, or student.init.kind: aligned",
            )


def geometry_warnings(spec: JobSpec, scored: int, units: int) -> Iterator[Problem]:
    """A second moment of fewer gradients than units, where each example has one.

    scored: number of scored examples; units: the teacher's width.
    """
    score = spec.score
    one_row = score.moment == "example" or not isinstance(spec.task, ResponseTask)
    if score.kind in GRADIENT_KINDS and score.geometry and one_row and scored < units:
        yield Problem(
            "score.samples",
            f"{counted(scored, 'gradient')} for {counted(units, 'unit')}: the effective dimension "
            "is limited by the number of scored examples",
            f"score at least {units:,} examples to read it, or ignore the geometry",
        )
