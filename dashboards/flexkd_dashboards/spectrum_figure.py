"""The spectra of the teacher's gradients: how many directions hold what its output depends on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import plotly.graph_objects as go

from .figure import Figure, KeyEntry, axis, canvas, rounded
from .labels import figure_text
from .report_data import ReportData, Spectrum
from .theme import PAGE, SPARE_SERIES, Colour

COLOURS: tuple[Colour, ...] = (PAGE["accent"], *(s.colour for s in SPARE_SERIES))

LEAST = 1e-6
"""Shares below are not drawn: rounding reaches them."""

OUTSIDE = 0.05
"""Share of the trace that the effective dimension leaves out."""


def spectrum_figure(data: ReportData) -> Figure | None:
    """The share of each trace that is left out, by the directions kept; the effective dimension."""
    return spectra_figure(data.spectra)


def spectra_figure(spectra: Sequence[Spectrum]) -> Figure | None:
    """See `spectrum_figure`."""
    drawn = [spectrum for spectrum in spectra if sum(spectrum.values) > 0]
    if not drawn:
        return None
    traces: list[Any] = []
    key: list[KeyEntry] = []
    for i, spectrum in enumerate(drawn):
        colour = COLOURS[i % len(COLOURS)]
        traces += [_left_out(spectrum, colour), _dimension(spectrum, colour)]
        key.append(KeyEntry(spectrum.label, colour))
    sizes = "; ".join(f"{s.label}: {_size(s)} of {len(s.values)}" for s in drawn)
    return Figure(
        name="spectrum",
        title="Directions that the teacher's output depends on",
        caption=(
            "Share of the second moment's trace outside its largest directions. A point marks the "
            "effective dimension, at 5% left out; its bar is half the difference of the two halves "
            f"of the data. {sizes}."
        ),
        plot=canvas(
            traces,
            height=380,
            xaxis=axis("Directions kept, log scale", type="log", dtick=1),
            yaxis=axis("Share left out, log scale", type="log", dtick=1, exponentformat="power"),
        ),
        key=tuple(key),
    )


def _left_out(spectrum: Spectrum, colour: Colour) -> Any:
    shares = outside(spectrum.values)
    kept = [place for place, share in enumerate(shares, start=1) if share > LEAST]
    label = figure_text(spectrum.label)
    return go.Scatter(
        x=kept,
        y=[rounded(shares[place - 1]) for place in kept],
        mode="lines",
        line={"color": colour.light, "width": 2},
        hovertemplate=f"{label}<br>%{{x}} directions leave out %{{y:.3g}}<extra></extra>",
        legendgroup=spectrum.label,
    )


def _dimension(spectrum: Spectrum, colour: Colour) -> Any:
    return go.Scatter(
        x=[spectrum.dimension],
        y=[OUTSIDE],
        error_x={"array": [spectrum.error or 0.0], "color": colour.light, "thickness": 1.5},
        mode="markers",
        marker={"color": colour.light, "size": 9},
        hovertemplate=f"{figure_text(spectrum.label)}<br>{_size(spectrum)}<extra></extra>",
        legendgroup=spectrum.label,
    )


def outside(values: Sequence[float]) -> list[float]:
    """By number of directions kept, the share of the trace in the others; negative ones count 0."""
    positive = [max(0.0, value) for value in values]
    total = sum(positive)
    return [1 - kept / total for kept in accumulate(positive)]


def _size(spectrum: Spectrum) -> str:
    bar = "" if spectrum.error is None else f" ± {spectrum.error:g}"
    return f"effective dimension {spectrum.dimension}{bar}"
