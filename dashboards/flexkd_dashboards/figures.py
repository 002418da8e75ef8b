"""The figures of a report, in the order of the page."""

from __future__ import annotations

from .figure import Figure, KeyEntry
from .metric_figure import metric_figure
from .report_data import ReportData
from .selection_figures import importance_figure, overlap_figure, pairs_figure
from .spectrum_figure import spectrum_figure
from .training_figures import loss_figure, validation_figure

__all__ = ["FIGURES", "Figure", "KeyEntry", "report_figures"]

FIGURES = (
    metric_figure,
    loss_figure,
    validation_figure,
    importance_figure,
    overlap_figure,
    pairs_figure,
    spectrum_figure,
)
"""Each takes the report's data and returns its figure, or None if there is nothing to draw."""


def report_figures(data: ReportData) -> tuple[Figure, ...]:
    """Every figure for which `data` has content."""
    drawn = (draw(data) for draw in FIGURES)
    return tuple(figure for figure in drawn if figure is not None)
