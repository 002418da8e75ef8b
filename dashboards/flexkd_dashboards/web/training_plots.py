"""The training curves of groups, from the logs of their trials in the storage."""

from __future__ import annotations

from collections.abc import Sequence

from flexkd_platform.artifacts import read_log_file
from flexkd_platform.results import Group
from flexkd_platform.store import DamagedArtifactError, StoreError
from flexkd_platform.tracking import TrialRecord

from ..figure import Figure
from ..labels import count
from ..report_data import ReportData, TrainingCurve
from ..training_curve import training_curve
from ..training_figures import loss_figure, validation_figure
from .blocks import Block, Note, Plot, Row, Table
from .sources import Sources

MOST_LOGS = 60
"""Logs that are read for one view."""

HINT = "Choose groups above, or press the name of a method in the leaderboard."


def training_blocks(
    sources: Sources, records: Sequence[TrialRecord], groups: Sequence[Group]
) -> list[Block]:
    """Loss and validation metric by step, of every seed of the groups."""
    if not groups:
        return [Note(HINT)]
    params = {group.key: group.params for group in groups}
    ours = [trial for trial in records if trial.finished and trial.group in params]
    curves: list[TrainingCurve] = []
    missing = 0
    for trial in ours[:MOST_LOGS]:
        try:
            log = read_log_file(sources.store().file_at("distill", trial.hash, "log.parquet"))
            curves.append(training_curve(log, trial.method, params[trial.group], trial.seed))
        except (StoreError, DamagedArtifactError, OSError, ValueError):
            missing += 1  # it ran in another storage, or was deleted
    notes: list[Block] = []
    if missing:
        text = f"{count(missing, 'trial')} of {len(ours)} have no readable log in this storage."
        notes.append(Note(text, notice=True))
    if len(ours) > MOST_LOGS:
        notes.append(Note(f"The first {MOST_LOGS} of {len(ours)} trials are drawn."))
    return [*notes, *(_plots(curves, next(iter(groups))) if curves else [])]


def _plots(curves: Sequence[TrainingCurve], first: Group) -> list[Block]:
    metric = next(iter(first.metrics), "test/loss")
    data = ReportData(
        results={"job": {}, "steps": [], "teacher": {}, "trials": [], "groups": []},
        spec_yaml="",
        metrics=(metric,),
        baseline=None,
        curves=tuple(curves),
    )
    figures = (loss_figure(data), validation_figure(data))
    return [Plot(figure, _table(figure, curves)) for figure in figures if figure is not None]


def _table(figure: Figure, curves: Sequence[TrainingCurve]) -> Table:
    """First and last value of every trial."""
    rows: list[Row] = []
    for curve in curves:
        points = list(zip(curve.steps, curve.loss, strict=True))
        if figure.name == "validation":
            points = list(next(iter(curve.validation.values()), ()))
        if points:
            (first, begin), (last, end) = points[0], points[-1]
            setting = ", ".join(f"{name}={value}" for name, value in curve.params.items())
            name = f"{curve.method} {setting}".strip()
            rows.append(
                [name, str(curve.seed), str(first), f"{begin:.4g}", str(last), f"{end:.4g}"]
            )
    header = ("group", "seed", "first step", "value", "last step", "value")
    return Table(f"{figure.name}-table", figure.title, header, rows)
