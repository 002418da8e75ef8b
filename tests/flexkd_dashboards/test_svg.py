"""Static figures: where values are placed, and what is drawn."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexkd_dashboards.figure import Figure, axis, canvas
from flexkd_dashboards.svg import NARROW, WIDE, draw
from flexkd_dashboards.svg_axis import axis_over, number_text
from flexkd_dashboards.svg_marks import symbol_path
from flexkd_dashboards.theme import METHOD_SERIES, PAGE, SPARE_SERIES

BLUE = PAGE["accent"].light


def figure(*traces: object, **layout: object) -> Figure:
    shown = {"height": 300, "xaxis": axis("x"), "yaxis": axis("y"), **layout}
    return Figure("one", "One", "", canvas(traces, **shown))  # type: ignore[arg-type]


def line(x: list[float], y: list[float], **more: object) -> object:
    return go.Scatter(x=x, y=y, mode="lines", line={"color": BLUE}, **more)


finite = st.floats(-1e6, 1e6)


@given(st.lists(finite, min_size=1, max_size=20), st.booleans())
def test_every_value_is_between_the_ends_and_ticks_too(values: list[float], padded: bool) -> None:
    shown = axis_over(values, {}, padded=padded)
    places = [shown.place(value) for value in values]
    assert all(place is not None and -1e-9 <= place <= 1 + 1e-9 for place in places)
    ticks = shown.ticks(6)
    assert len(ticks) <= 7
    assert all(-0.5 <= tick.place <= 1.5 for tick in ticks)


def test_a_log_axis_places_decades_evenly_and_leaves_out_what_has_no_logarithm() -> None:
    shown = axis_over([1.0, 10.0, 100.0, 0.0, -1.0], {"type": "log"}, padded=False)
    assert [shown.place(v) for v in (1.0, 10.0, 100.0)] == pytest.approx([0.0, 0.5, 1.0])
    assert shown.place(0.0) is None
    assert [tick.label for tick in shown.ticks(5)] == ["1", "10", "100"]


def test_an_axis_to_zero_begins_at_zero_and_one_with_a_range_keeps_it() -> None:
    assert axis_over([3.0, 9.0], {"rangemode": "tozero"}, padded=True).low == 0.0
    ranged = axis_over([3.0], {"range": [5.0, -1.0]}, padded=True)
    assert (ranged.low, ranged.high) == (5.0, -1.0)
    reversed_names = axis_over(
        ["a", "b"], {"type": "category", "autorange": "reversed"}, padded=True
    )
    assert (reversed_names.place("a"), reversed_names.place("b")) == (0.75, 0.25)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05, "0.05"), (-2.5, "−2.5"), (1e-6, "10⁻⁶"), (2e-4, "2×10⁻⁴"), (3e6, "3×10⁶")],
)
def test_tick_numbers(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_is_well_formed_and_keeps_to_its_width(width: int) -> None:
    long = "<b>&" * 30
    rows = axis("", tickmode="array", tickvals=[0, 1], ticktext=[long, "b"])
    drawn = draw(figure(line([0, 1], [0, 1], legendgroup=long), yaxis=rows), width).svg
    root = ElementTree.fromstring(drawn)
    assert root.attrib["viewBox"] == f"0 0 {width} 300"
    for text in root.iter("text"):
        assert 0 <= float(text.attrib["x"]) <= width


def test_values_that_are_not_finite_interrupt_a_line() -> None:
    drawn = draw(figure(line([0, 1, 2, 3], [0.0, 1.0, math.nan, 1.0])), WIDE)
    (path,) = re.findall(r'd="([^"]+)" class="line"', drawn.svg)
    assert path.count("M") == 2
    assert len(drawn.hovers) == 0  # the trace has no text


def test_error_bars_reach_their_ends_and_are_within_the_axis() -> None:
    bars = {"array": [2.0], "arrayminus": [1.0], "color": BLUE}
    one = go.Scatter(x=[1.0], y=[5.0], mode="markers", marker={"color": BLUE}, error_y=bars)
    flat = figure(one, yaxis=axis("", range=[0.0, 10.0]))
    (path,) = re.findall(r'd="([^"]+)" class="line"', draw(flat, WIDE).svg)
    found = re.match(r"M[\d.]+,([\d.]+)V([\d.]+)", path)
    assert found
    low, high = float(found[1]), float(found[2])
    frame = 300 - 54 - 14  # the height without the margins
    assert (low - high) == pytest.approx(frame * 3 / 10, abs=0.2)


def test_hovers_have_the_text_of_their_template() -> None:
    trace = line(
        [1.0], [0.123456], hovertemplate="a<br>step %{x}: %{y:.4g}<extra></extra>", legendgroup="a"
    )
    (found,) = draw(figure(trace), WIDE).hovers
    assert (found[0], found[1].text) == ("a", "a\nstep 1: 0.1235")


def test_every_symbol_of_the_methods_has_an_outline_of_its_own() -> None:
    symbols = [series.symbol for series in (*METHOD_SERIES.values(), *SPARE_SERIES)]
    outlines = {symbol_path(symbol, 10) for symbol in symbols}
    assert len(outlines) == len(symbols)
