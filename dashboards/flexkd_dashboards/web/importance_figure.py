"""The importance of each setting of a search as bars."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from ..figure import Figure, axis, canvas, rounded
from ..labels import figure_text
from ..theme import PAGE
from .setting_figure import short_name


def importance_figure(name: str, title: str, shares: Mapping[str, float]) -> Figure:
    """Shares in percent, the largest on top."""
    bars = go.Bar(
        x=[rounded(100 * share) for share in shares.values()],
        y=list(range(len(shares))),
        orientation="h",
        marker={"color": PAGE["accent"].light},
        hovertemplate="%{x:.1f} %<extra></extra>",
    )
    rows = axis(
        "",
        tickmode="array",
        tickvals=list(range(len(shares))),
        ticktext=[figure_text(short_name(path)) for path in shares],
        autorange="reversed",
        showgrid=False,
    )
    percent = axis("Importance (%)", rangemode="tozero")
    return Figure(
        name=name,
        title=title,
        caption="How much each setting distinguishes the best tenth of the points from the others, "
        "by PED-ANOVA as Optuna computes it (arXiv:2304.10255). It describes these points, not "
        "the method.",
        plot=canvas([bars], height=110 + 34 * len(shares), xaxis=percent, yaxis=rows, bargap=0.35),
    )
