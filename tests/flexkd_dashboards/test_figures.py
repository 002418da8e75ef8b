"""What is drawn, and in which colours."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from flexkd_dashboards import ImportanceCurve, ReportData, Spectrum, TrainingCurve, report_figures
from flexkd_dashboards.alpha_axis import AlphaAxis
from flexkd_dashboards.theme import METHOD_SERIES, PAGE, SPARE_SERIES, dark_of_light, method_series


def drawn(data: ReportData) -> dict[str, dict[str, Any]]:
    return {figure.name: figure.plot.to_plotly_json() for figure in report_figures(data)}


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for inner in value.values() for s in strings(inner)]
    if isinstance(value, list | tuple):
        return [s for inner in value for s in strings(inner)]
    return []


def test_alpha_over_a_decade_is_logarithmic() -> None:
    assert AlphaAxis.over([0.05, 0.5, 1.0]).logarithmic
    assert not AlphaAxis.over([0.1, 0.5]).logarithmic
    assert not AlphaAxis.over([0.0, 0.5]).logarithmic


@pytest.mark.parametrize("alphas", [[0.5], [0.0], [0.0, 1.0], [0.05, 0.5, 1.0]])
def test_every_alpha_lies_inside_the_axis(alphas: list[float]) -> None:
    axis = AlphaAxis.over(alphas)
    low, high = axis.ends
    assert all(low < axis.place(alpha, share) < high for alpha in alphas for share in (-0.04, 0.04))


def test_alphas_that_crowd_share_ticks() -> None:
    assert AlphaAxis.over([0.5, 0.501, 1.0]).ticks() == [0.5, 1.0]


def test_metric_is_drawn_in_percent_with_its_deviation(report: ReportData) -> None:
    line = next(
        trace
        for trace in drawn(report)["metric"]["data"]
        if trace["legendgroup"] == "flexkd" and trace["mode"] == "lines+markers"
    )
    groups = [group for group in report.groups if group["method"] == "flexkd"]
    spreads = [group["metrics"]["test/accuracy"] for group in groups]
    assert list(line["y"]) == pytest.approx([100 * s["mean"] for s in spreads])
    above = [100 * (s["interval"][1] - s["mean"]) for s in spreads]
    below = [100 * (s["mean"] - s["interval"][0]) for s in spreads]
    assert list(line["error_y"]["array"]) == pytest.approx(above)
    assert list(line["error_y"]["arrayminus"]) == pytest.approx(below)


def test_mean_curve_is_over_the_steps_that_all_seeds_have(report: ReportData) -> None:
    long = TrainingCurve("ft", {}, 10, (1, 2, 3), (3.0, 2.0, 1.0), {})
    short = TrainingCurve("ft", {}, 20, (1, 2), (1.0, 1.0), {})
    traces = drawn(replace(report, curves=(long, short)))["loss"]["data"]
    assert len(traces) == 3
    assert (list(traces[-1]["x"]), list(traces[-1]["y"])) == ([1, 2], [2.0, 1.5])


def test_long_curves_are_thinned_to_means(report: ReportData) -> None:
    steps = tuple(range(1, 3001))
    curve = TrainingCurve("ft", {}, 10, steps, tuple(float(s) for s in steps), {})
    figure = next(f for f in report_figures(replace(report, curves=(curve,))) if f.name == "loss")
    trace = figure.plot.data[0]
    assert len(trace.x) == 300
    assert trace.y[0] == trace.x[0] == 5.5
    assert "mean of 10 logged steps" in figure.caption


def test_importance_is_sorted_and_cut_after_the_selection(
    report: ReportData, make_selection: Callable[..., ImportanceCurve]
) -> None:
    selection = make_selection("layer 6", seed=3, d_teacher=20, d_student=5)
    figure = drawn(replace(report, importance=(selection,)))["importance"]
    curve, selected = figure["data"]
    assert list(curve["y"]) == sorted(curve["y"], reverse=True)
    assert list(selected["x"]) == [1, 2, 3, 4, 5]
    assert figure["layout"]["shapes"][0]["x0"] == 5.5


def test_selection_that_is_not_the_top_has_no_cut(report: ReportData) -> None:
    selection = ImportanceCurve("random", (4.0, 3.0, 2.0, 1.0), (3, 0))
    figure = drawn(replace(report, importance=(selection,)))["importance"]
    assert list(figure["data"][1]["x"]) == [1, 4]
    assert "shapes" not in figure["layout"]


def test_jaccard_matrix_and_its_blanks(report: ReportData) -> None:
    selections = (
        ImportanceCurve("encoder", (4.0, 3.0, 2.0, 1.0), (0, 1)),
        ImportanceCurve("decoder", (1.0, 3.0, 2.0, 0.5), (1, 2)),
        ImportanceCurve("wide", (1.0,) * 5, (0, 1)),
    )
    figures = drawn(replace(report, importance=selections))
    assert "units" not in figures
    cells = figures["overlap"]["data"][0]["z"]
    # {0, 1} and {1, 2} share 1 of 3 units
    assert [list(row) for row in cells] == [
        [1, pytest.approx(1 / 3, abs=1e-6), None],
        [pytest.approx(1 / 3, abs=1e-6), 1, None],
        [None, None, 1],
    ]


def test_ranks_that_hold_the_same_unit_and_their_blanks(report: ReportData) -> None:
    selections = (
        ImportanceCurve("one", (4.0, 3.0, 2.0, 1.0), (0, 1, 2)),
        ImportanceCurve("other", (1.0, 3.0, 2.0, 0.5), (0, 2, 1)),
        ImportanceCurve("narrow", (1.0,) * 4, (0, 1)),
    )
    cells = drawn(replace(report, importance=selections))["pairs"]["data"][0]["z"]
    # Both have the units 0, 1 and 2; unit 0 alone has the same rank.
    third = pytest.approx(1 / 3, abs=1e-6)
    assert [list(row) for row in cells] == [[1, third, None], [third, 1, None], [None, None, 1]]
    assert "pairs" not in drawn(replace(report, importance=selections[:1]))


def test_the_caption_has_what_is_known_of_each_selection(report: ReportData) -> None:
    selections = (
        ImportanceCurve("one", (4.0, 3.0), (0,), "effective dimension 2 ± 0.5 of 2"),
        ImportanceCurve("other", (1.0, 3.0), (1,)),
    )
    figures = report_figures(replace(report, importance=selections))
    caption = next(figure.caption for figure in figures if figure.name == "importance")
    assert "1: one: effective dimension 2 ± 0.5 of 2." in caption
    assert "2: other" not in caption


def test_key_names_exactly_what_is_drawn(report: ReportData) -> None:
    for figure in report_figures(report):
        groups = {trace.legendgroup for trace in figure.plot.data}
        if figure.key:
            assert {entry.label for entry in figure.key} == groups


def test_every_colour_of_a_figure_has_a_dark_one(report: ReportData) -> None:
    known = set(dark_of_light())
    texts = [s for figure in drawn(report).values() for s in strings(figure)]
    colours = {s for s in texts if s.startswith(("#", "rgba"))} - {"rgba(0, 0, 0, 0)"}
    assert colours
    assert colours <= known


def test_light_colours_are_distinct() -> None:
    """Else one of two would turn into the other's dark colour."""
    pairs = [(c.light, c.dark) for c in PAGE.values()]
    pairs += [(s.colour.light, s.colour.dark) for s in (*METHOD_SERIES.values(), *SPARE_SERIES)]
    assert len({light for light, _ in pairs}) == len(pairs)


def test_unknown_methods_take_the_spares_in_order() -> None:
    series = method_series(["mine", "ft", "other", "mine"])
    assert (series["mine"], series["other"]) == SPARE_SERIES[:2]


def linear(colour: str) -> np.ndarray:
    channel = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio."""
    luminance = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (luminance[1] + 0.05) / (luminance[0] + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(theme: str) -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for graphics."""
    page = {role: getattr(colour, theme) for role, colour in PAGE.items()}
    for surface in (page["surface"], page["background"]):
        for role in ("text", "muted", "accent", "alert"):
            assert contrast(page[role], surface) >= 4.5, role
        for series in (*METHOD_SERIES.values(), *SPARE_SERIES):
            assert contrast(getattr(series.colour, theme), surface) >= 3, series


# Machado, Oliveira & Fernandes 2009, severity 1.0: linear RGB as seen with one cone missing.
VISION = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)  # sRGB, D65


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(vision @ linear(colour), 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = (math.cbrt(v) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_methods_are_told_apart_without_full_colour_vision(theme: str, vision: str) -> None:
    """CIE76 of 10 is seen at a glance; 2.3 is just noticeable. Symbols and dashes come on top."""
    colours = [getattr(series.colour, theme) for series in METHOD_SERIES.values()]
    for one, other in itertools.combinations(colours, 2):
        distance = np.linalg.norm(lab(one, VISION[vision]) - lab(other, VISION[vision]))
        assert distance >= 10, (one, other, distance)


def test_spectrum_is_the_share_left_out_and_marks_the_dimension(report: ReportData) -> None:
    spectra = (
        Spectrum("gradients, layer 5", (8.0, 1.0, 1.0, 0.0), 3, 0.5),
        Spectrum("contribution, layer 5", (9.0, 1.0, 0.0, -1e-9), 2),
        Spectrum("nothing", (0.0, 0.0), 0),
    )
    figures = report_figures(replace(report, spectra=spectra))
    figure = next(figure for figure in figures if figure.name == "spectrum")
    curve, dimension, other, _ = figure.plot.data
    assert (list(curve.x), list(curve.y)) == ([1, 2], [pytest.approx(0.2), pytest.approx(0.1)])
    assert list(other.x) == [1], "negative values and rounding are left out"
    assert (list(dimension.x), list(dimension.y)) == ([3], [0.05])
    assert list(dimension.error_x.array) == [0.5]
    assert "effective dimension 3 ± 0.5 of 4; contribution, layer 5: effective" in figure.caption
    assert "nothing" not in figure.caption


def test_caption_of_the_loss_tells_which_gradients_were_clipped(report: ReportData) -> None:
    shares = {"flexkd": 0.25, "ft": 0.0}
    curves = tuple(replace(curve, clipped=shares.get(curve.method)) for curve in report.curves)
    figures = report_figures(replace(report, curves=curves))
    caption = next(figure.caption for figure in figures if figure.name == "loss")
    assert "Steps whose gradient was clipped: " in caption
    assert caption.count("25%") == 2, "one for each setting of Flex-KD"
    assert " 0%" not in caption
    many = tuple(replace(curve, clipped=0.1) for curve in report.curves)
    figures = report_figures(replace(report, curves=many))
    caption = next(figure.caption for figure in figures if figure.name == "loss")
    assert "clipped: 10% to 10% in 7 of 7 settings." in caption
