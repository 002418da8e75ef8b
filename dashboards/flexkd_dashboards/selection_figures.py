"""The selected teacher units: their importance, their positions, the overlap of selections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from .figure import Figure, KeyEntry, axis, canvas, heatmap, rounded
from .labels import figure_text
from .report_data import ImportanceCurve, ReportData
from .theme import PAGE, SPARE_SERIES, Colour

SELECTION_COLOURS: tuple[Colour, ...] = (PAGE["accent"], *(s.colour for s in SPARE_SERIES))
MOST_NUMBERED_CELLS = 10
LONGEST = 28
"""Characters of the label of a row; a pointer over it shows all, and so does the table."""

NUMBERED = (
    "Columns are numbered as the rows; selections of layers that differ in width are not compared."
)

Cells = Sequence[Sequence[float | None]]
"""A measure of each pair, row by row; None where two cannot be compared."""


def importance_figure(data: ReportData) -> Figure | None:
    """G of the teacher units in descending order, with the cut at d_S."""
    return importance_curves(data.importance)


def importance_curves(selections: Sequence[ImportanceCurve]) -> Figure | None:
    """See `importance_figure`."""
    if not selections:
        return None
    alone = len(selections) == 1
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for i, selection in enumerate(selections):
        colour = SELECTION_COLOURS[i % len(SELECTION_COLOURS)]
        rest = PAGE["muted"] if alone else colour
        traces += _ranked(selection, _label(selection, i), colour, rest)
        if not alone:
            key.append(KeyEntry(_label(selection, i), colour))
    first = selections[0]
    sizes = f"{len(first.units)} of {len(first.importance)} units"
    layout = _cut(first) if alone and _is_top(first) else {}
    return Figure(
        name="importance",
        title="Importance of the teacher's units",
        caption=(
            "G of each unit of the scored layer, sorted; the thick part is what was selected"
            + (f" ({sizes})." if alone else ".")
            + _notes(selections)
        ),
        plot=canvas(
            traces,
            height=380,
            xaxis=axis("Rank of the unit", rangemode="tozero"),
            yaxis=axis("Importance G", rangemode="tozero", exponentformat="power"),
            **layout,
        ),
        key=tuple(key),
    )


def overlap_figure(data: ReportData) -> Figure | None:
    """The overlap of the selections; for a single one, the positions of its units."""
    return unit_overlap(data.importance)


def unit_overlap(selections: Sequence[ImportanceCurve]) -> Figure | None:
    """See `overlap_figure`."""
    if len(selections) < 2:
        return _strip(selections[0]) if selections else None
    return matrix(
        selection_labels(selections),
        overlaps(selections),
        name="overlap",
        title="Units that selections share",
        caption="Jaccard index: shared units over all units of the two selections. "
        + _chance(selections)
        + NUMBERED,
    )


def pairs_figure(data: ReportData) -> Figure | None:
    """How many ranks hold the same unit in two selections; none for a single one."""
    return rank_agreement(data.importance)


def rank_agreement(selections: Sequence[ImportanceCurve]) -> Figure | None:
    """See `pairs_figure`."""
    if len(selections) < 2:
        return None
    return matrix(
        selection_labels(selections),
        rank_agreements(selections),
        name="pairs",
        title="Ranks with the same unit",
        caption="Share of the ranks that hold the same unit in both selections: with pairing by "
        "rank, student unit m is matched with the unit of rank m. Sets may be stable where ranks "
        "are not. " + NUMBERED,
    )


def selection_labels(selections: Sequence[ImportanceCurve]) -> list[str]:
    """The labels with numbers, so that selections with the same name are distinct."""
    return [_label(selection, place) for place, selection in enumerate(selections)]


def overlaps(selections: Sequence[ImportanceCurve]) -> Cells:
    """The Jaccard index of each pair of selections."""
    return [[_jaccard(one, other) for other in selections] for one in selections]


def _ranked(selection: ImportanceCurve, label: str, colour: Colour, rest: Colour) -> list[Any]:
    importance = selection.importance
    order = sorted(range(len(importance)), key=lambda unit: (-importance[unit], unit))
    chosen = set(selection.units)
    ranks = {unit: rank for rank, unit in enumerate(order, start=1)}
    picked = [unit for unit in order if unit in chosen]
    shared = {"hoverinfo": "text", "legendgroup": label}

    def drawn(units: list[int], **style: Any) -> Any:
        return go.Scatter(
            x=[ranks[unit] for unit in units],
            y=[rounded(importance[unit]) for unit in units],
            hovertext=[
                f"{figure_text(label)}<br>rank {ranks[u]}: unit {u}, G = {importance[u]:.4g}"
                for u in units
            ],
            **shared,
            **style,
        )

    return [
        drawn(order, mode="lines", line={"color": rest.light, "width": 1.5}),
        # Markers, not a line: the ranks of a selection may have gaps.
        drawn(picked, mode="markers", marker={"color": colour.light, "size": 5}),
    ]


def _cut(selection: ImportanceCurve) -> dict[str, Any]:
    """A labelled vertical line after the last selected rank."""
    text = f"d<sub>S</sub> = {len(selection.units)} of d<sub>T</sub> = {len(selection.importance)}"
    place = len(selection.units) + 0.5
    muted = PAGE["muted"].light
    line = {"color": muted, "dash": "dash", "width": 1.5}
    return {
        "shapes": [
            {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": line}
        ],
        "annotations": [
            {"x": place, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top"}
            | {"xshift": 6, "text": text, "showarrow": False, "font": {"color": muted}}
        ],
    }


def _is_top(selection: ImportanceCurve) -> bool:
    """Whether the selected units are those with the largest G: only then is there a cut."""
    chosen = set(selection.units)
    rest = [g for unit, g in enumerate(selection.importance) if unit not in chosen]
    picked = [selection.importance[unit] for unit in chosen]
    return bool(picked) and (not rest or min(picked) >= max(rest))


def _strip(selection: ImportanceCurve) -> Figure:
    """G by unit index, the selected units in the accent colour."""
    chosen = set(selection.units)
    units = range(len(selection.importance))
    traces = [
        go.Bar(
            x=[unit for unit in units if (unit in chosen) is selected],
            y=[rounded(selection.importance[u]) for u in units if (u in chosen) is selected],
            width=1,
            marker={"color": colour.light, "line": {"width": 0}},
            opacity=opacity,
            hovertemplate="unit %{x}: G = %{y:.4g}<extra></extra>",
            legendgroup=label,
        )
        for label, selected, colour, opacity in (
            ("selected", True, PAGE["accent"], 1),
            ("not selected", False, PAGE["muted"], 0.6),
        )
    ]
    return Figure(
        name="units",
        title="Positions of the selected units",
        caption=f"Importance by unit index; {selection.label} is the one selection of this job.",
        plot=canvas(
            traces,
            height=260,
            barmode="overlay",
            xaxis=axis("Unit index", showgrid=False, range=[-1, len(selection.importance)]),
            yaxis=axis("Importance G", exponentformat="power", nticks=5),
        ),
        key=(
            KeyEntry("selected", PAGE["accent"]),
            KeyEntry("not selected", PAGE["muted"]),
        ),
    )


def rank_agreements(selections: Sequence[ImportanceCurve]) -> Cells:
    """The share of ranks with the same unit of each pair of selections."""
    return [[_same_ranks(one, other) for other in selections] for one in selections]


def matrix(labels: Sequence[str], cells: Cells, *, name: str, title: str, caption: str) -> Figure:
    """A measure in [0, 1] of each pair, blank where two cannot be compared.

    labels: of the rows; columns have the same order, and their numbers.
    """
    numbers = [str(place + 1) for place in range(len(labels))]
    names = [figure_text(label) for label in labels]
    ticks = [figure_text(shortened(label)) for label in labels]
    numbered = len(labels) <= MOST_NUMBERED_CELLS
    cells_shown = heatmap(
        numbered=numbered,
        x=numbers,
        y=names,
        z=cells,
        texttemplate="%{z:.2f}" if numbered else "",
        hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
        hoverongaps=False,
    )
    return Figure(
        name=name,
        title=title,
        caption=caption,
        plot=canvas(
            [cells_shown],
            height=110 + (46 if numbered else 22) * len(labels),
            xaxis=axis("", side="top", type="category", showgrid=False),
            yaxis=axis(
                "",
                autorange="reversed",
                type="category",
                showgrid=False,
                tickmode="array",
                tickvals=names,
                ticktext=ticks,
            ),
        ),
    )


def shortened(label: str) -> str:
    """A label of at most `LONGEST` characters, which a narrow screen has room for."""
    if len(label) <= LONGEST:
        return label
    start = LONGEST // 2
    return f"{label[:start].rstrip()} … {label[start + 3 - LONGEST :].lstrip()}"


def _chance(selections: Sequence[ImportanceCurve]) -> str:
    """The index of two random selections of the first one's size, as a reference."""
    chosen, width = len(selections[0].units), len(selections[0].importance)
    if any((len(s.units), len(s.importance)) != (chosen, width) for s in selections) or not chosen:
        return ""
    return f"Two random selections of this size have about {chosen / (2 * width - chosen):.2f}. "


def _jaccard(one: ImportanceCurve, other: ImportanceCurve) -> float | None:
    if len(one.importance) != len(other.importance):
        return None
    union = set(one.units) | set(other.units)
    return rounded(len(set(one.units) & set(other.units)) / len(union)) if union else None


def _notes(selections: Sequence[ImportanceCurve]) -> str:
    numbered = enumerate(selections)
    return "".join(f" {_label(chosen, i)}: {chosen.note}." for i, chosen in numbered if chosen.note)


def _same_ranks(one: ImportanceCurve, other: ImportanceCurve) -> float | None:
    if len(one.importance) != len(other.importance) or len(one.units) != len(other.units):
        return None
    same = sum(a == b for a, b in zip(one.units, other.units, strict=True))
    return rounded(same / len(one.units)) if one.units else None


def _label(selection: ImportanceCurve, index: int) -> str:
    """The label with a number, so that selections with the same name are distinct."""
    return f"{index + 1}: {selection.label}"
