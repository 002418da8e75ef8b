"""What students and teachers compute: CKA of layers, C_m of paired units, activation magnitudes.

Shapes: T tokens, D units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from flexkd_platform.representations import Activations, Correlations, Similarity

from .figure import SHADES, Figure, KeyEntry, axis, canvas, heatmap, rounded, thinned
from .labels import count, figure_text
from .theme import PAGE, SPARE_SERIES, Colour

COLOURS: tuple[Colour, ...] = (PAGE["accent"], *(s.colour for s in SPARE_SERIES))

MOST_NUMBERED = 16
"""Layers of a side up to which the cells of the CKA figure have numbers."""

MOST_CELLS = 40_000
"""Cells of the figure of activations; above, neighbouring units share a cell."""

QUANTILES = ("train/correlation_p05", "train/correlation_p50", "train/correlation_p95")

Curve = Mapping[int, tuple[float, float, float]]
"""Step → the 5 %, 50 % and 95 % quantile of C_m over the units of that step's batch."""


def similarity_figure(found: Similarity) -> Figure:
    """Linear CKA of each student layer with each teacher layer."""
    numbered = max(len(found.student_layers), len(found.teacher_layers)) <= MOST_NUMBERED
    cells_shown = heatmap(
        numbered=numbered,
        x=[str(layer) for layer in found.teacher_layers],
        y=[str(layer) for layer in found.student_layers],
        z=[[None if value is None else rounded(value) for value in row] for row in found.cka],
        texttemplate="%{z:.2f}" if numbered else "",
        hovertemplate="student %{y}, teacher %{x}: %{z:.3f}<extra></extra>",
        hoverongaps=False,
    )
    return Figure(
        name="cka",
        title="Similarity of layers: linear CKA",
        caption=(
            "1 where the features of two layers are equal up to a rotation and a scale, 0 where "
            f"they share nothing. On {_rows(found.rows)} of "
            f"{count(found.examples, 'example')} drawn from the validation split. With fewer rows "
            "than units CKA is too high, also of unrelated features."
        ),
        plot=canvas(
            [cells_shown],
            height=130 + 36 * len(found.student_layers),
            xaxis=axis("Teacher layer", side="bottom", type="category", showgrid=False),
            yaxis=axis("Student layer", type="category", showgrid=False),
        ),
    )


def correlation_figure(found: Correlations) -> Figure:
    """C_m of each pair of units of the finished student, in descending order."""
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for place, layer in enumerate(found.layers):
        colour = COLOURS[place % len(COLOURS)]
        label = f"student layer {layer.student}, teacher layer {layer.teacher}"
        order = sorted(range(len(layer.correlation)), key=lambda unit: -layer.correlation[unit])
        noun = "unit" if layer.target == "units" else "direction"
        traces.append(
            go.Scatter(
                x=list(range(1, len(order) + 1)),
                y=[rounded(layer.correlation[unit]) for unit in order],
                mode="lines+markers",
                line={"color": colour.light, "width": 1.5},
                marker={"color": colour.light, "size": 4},
                hovertext=[
                    f"student unit {unit}, teacher {noun} {layer.matched[unit]}: "
                    f"C = {layer.correlation[unit]:.3f}"
                    for unit in order
                ],
                hoverinfo="text",
                legendgroup=label,
            )
        )
        if len(found.layers) > 1:
            key.append(KeyEntry(label, colour))
    return Figure(
        name="correlation",
        title="Correlation of paired units after training",
        caption=(
            "C of each student unit with the teacher unit that it was paired with at the end, "
            f"sorted. On {_rows(found.rows)} of {count(found.examples, 'example')} drawn "
            "from the validation split."
        ),
        plot=canvas(
            traces,
            height=340,
            xaxis=axis("Pairs in descending order", rangemode="tozero"),
            yaxis=axis("Correlation C", range=[-1.02, 1.02]),
        ),
        key=tuple(key),
    )


def training_correlation_figure(curves: Mapping[str, Curve]) -> Figure | None:
    """C_m over the training: the median over the units, and the band from 5 % to 95 %.

    curves: by label of a student.
    """
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for place, (label, curve) in enumerate((k, v) for k, v in curves.items() if v):
        colour = COLOURS[place % len(COLOURS)]
        sides = [
            thinned(list(curve), [values[side] for values in curve.values()]) for side in range(3)
        ]
        (steps, low), (_, middle), (_, high) = sides
        shared = {"legendgroup": label, "mode": "lines"}
        traces += [
            go.Scatter(x=steps, y=low, line={"width": 0}, hoverinfo="skip", **shared),
            go.Scatter(
                x=steps,
                y=high,
                line={"width": 0},
                fill="tonexty",
                fillcolor=colour.faint,
                hoverinfo="skip",
                **shared,
            ),
            go.Scatter(
                x=steps,
                y=middle,
                line={"color": colour.light, "width": 2},
                customdata=list(zip(low, high, strict=True)),
                hovertemplate=f"{figure_text(label)}<br>step %{{x}}: median %{{y:.3f}}, 5% to 95% "
                "%{customdata[0]:.3f} to %{customdata[1]:.3f}<extra></extra>",
                **shared,
            ),
        ]
        key.append(KeyEntry(label, colour))
    if not traces:
        return None
    return Figure(
        name="training-correlation",
        title="Correlation of paired units over training",
        caption="C of the units of each training batch: the median over the units, and the band "
        "from the 5% to the 95% quantile. Small batches spread it: with two rows C is 1 or −1.",
        plot=canvas(
            traces,
            height=380,
            xaxis=axis("Step", rangemode="tozero"),
            yaxis=axis("Correlation C"),
        ),
        key=tuple(key) if len(key) > 1 else (),
    )


def _rows(rows: Sequence[int]) -> str:
    """`96 and 32 rows` of an encoder and a decoder."""
    *others, last = rows
    return " and ".join([*map(str, others), count(last, "row")])


def activation_figure(found: Activations, threshold: float, *, name: str, whose: str) -> Figure:
    """|h| over tokens and units; values below the threshold are 0, as in Figures 1 and 6."""
    rows, width = pooled(found.magnitudes)
    cells = [[rounded(v) if v >= threshold else 0 for v in row] for row in rows]
    tokens = [f"{place + 1}: {token}" for place, token in enumerate(found.tokens)]
    shown = f"The {whose}'s layer {found.layer}, one row a token of the text."
    if threshold > 0:
        shown += f" Values below {threshold:g} are shown as 0."
    if width > 1:
        shown += f" Each cell is the largest of {width} neighbouring units."
    magnitudes = go.Heatmap(
        x=[place * width for place in range(len(cells[0]))],
        y=[figure_text(token) for token in tokens],
        z=cells,
        zmin=0,
        colorscale=SHADES,
        colorbar={"thickness": 12, "outlinewidth": 0},
        hovertemplate="unit %{x}, token %{y}<br>|h| = %{z:.3g}<extra></extra>",
    )
    return Figure(
        name=name,
        title=f"Activation magnitudes of the {whose}",
        caption=shown,
        plot=canvas(
            [magnitudes],
            height=120 + max(12, min(22, 900 // len(tokens))) * len(tokens),
            xaxis=axis("Unit", showgrid=False),
            yaxis=axis("", autorange="reversed", type="category", showgrid=False),
        ),
    )


def pooled(magnitudes: Sequence[Sequence[float]]) -> tuple[list[list[float]], int]:
    """The largest value of neighbouring units, and how many share a cell, for `MOST_CELLS`."""
    width = -(-len(magnitudes) * len(magnitudes[0]) // MOST_CELLS)
    if width <= 1:
        return [list(row) for row in magnitudes], 1
    return [
        [max(row[start : start + width]) for start in range(0, len(row), width)]
        for row in magnitudes
    ], width
