"""The confusion matrix of a group."""

from __future__ import annotations

from flexkd_platform.results import Confusion

from .figure import Figure, axis, canvas, heatmap, rounded
from .labels import count, figure_text

MOST_NUMBERED = 20
"""Classes up to which the cells have numbers."""


def confusion_figure(found: Confusion, label: str) -> Figure:
    """Counts of each label and prediction; the shade is the share of the label's examples."""
    totals = [max(1, sum(row)) for row in found.counts]
    shares = [
        [rounded(cell / total) for cell in row]
        for row, total in zip(found.counts, totals, strict=True)
    ]
    numbered = len(found.names) <= MOST_NUMBERED
    names = [figure_text(name) for name in found.names]
    cells_shown = heatmap(
        numbered=numbered,
        x=names,
        y=names,
        z=shares,
        customdata=[list(row) for row in found.counts],
        text=[[f"{cell:,}" for cell in row] for row in found.counts],
        texttemplate="%{text}" if numbered else "",
        hovertemplate="label %{y}, predicted %{x}<br>%{customdata:,}, %{z:.1%} of the label"
        "<extra></extra>",
    )
    return Figure(
        name="confusion",
        title=f"Confusion matrix of {label}",
        caption=(
            f"Rows are labels, columns predictions, summed over {count(found.seeds, 'seed')}; the "
            "shade is the share of the row."
        ),
        plot=canvas(
            [cells_shown],
            height=150 + (46 if numbered else 20) * len(names),
            xaxis=axis("Predicted", type="category", showgrid=False),
            yaxis=axis("Label", autorange="reversed", type="category", showgrid=False),
        ),
    )
