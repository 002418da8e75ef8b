"""Axes of static figures: from values to pixels, and where ticks are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MARGIN = 0.05
"""Room on either side of the data, as a share of their range."""
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Value = float | str | None


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in pixels."""

    place: float
    label: str


@dataclass(frozen=True)
class Axis:
    """One axis of a figure.

    kind: linear, log or category.
    low, high: the values at its ends; logarithms on a log axis, indices on a category axis.
    names: the categories.
    first, last: the pixels of `low` and `high`.
    settings: of Plotly's axis.
    """

    kind: str
    low: float
    high: float
    names: tuple[str, ...]
    settings: dict[str, Any]
    first: float = 0.0
    last: float = 1.0

    def place(self, value: Value) -> float | None:
        """The pixel of a value; None where nothing can be drawn."""
        number = self._number(value)
        if number is None:
            return None
        share = (number - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self, most: int) -> list[Tick]:
        """At most `most` ticks, or those that the figure asks for."""
        found: list[tuple[Value, str]]
        if self.kind == "category":
            found = list(zip(self.names, self.names, strict=True))
        elif "tickvals" in self.settings:
            labels = self.settings.get("ticktext") or [
                number_text(v) for v in self.settings["tickvals"]
            ]
            found = list(zip(self.settings["tickvals"], labels, strict=True))
        else:
            values = (
                self._decades(most) if self.kind == "log" else _steps(self.low, self.high, most)
            )
            found = [(value, number_text(value)) for value in values]
        ends = sorted((self.first, self.last))
        placed = [(self.place(value), label) for value, label in found]
        return [
            Tick(place, label)
            for place, label in placed
            if place is not None and ends[0] - 0.5 <= place <= ends[1] + 0.5
        ]

    def _number(self, value: Value) -> float | None:
        if self.kind == "category":
            return float(self.names.index(str(value))) if str(value) in self.names else None
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        if self.kind != "log":
            return float(value)
        return math.log10(value) if value > 0 else None

    def _decades(self, most: int) -> list[float]:
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        step = max(1, -(-(last - first + 1) // most))
        return [10.0**decade for decade in range(first, last + 1, step)]


def axis_over(values: Iterable[Value], settings: dict[str, Any], *, padded: bool) -> Axis:
    """The axis that shows all of `values`.

    Args:
        settings: of Plotly's axis; its range and type are kept.
        padded: whether there is room between the data and the ends.
    """
    known = list(values)
    kind = settings.get("type", "linear")
    if kind == "category":
        names = tuple(dict.fromkeys(str(value) for value in known))
        low, high = -0.5, len(names) - 0.5
        if settings.get("autorange") == "reversed":
            low, high = high, low
        return Axis(kind, low, high, names, settings)
    if "range" in settings:
        low, high = settings["range"]
        return Axis(kind, low, high, (), settings)
    numbers = [v for v in known if isinstance(v, int | float) and math.isfinite(v)]
    if kind == "log":
        numbers = [math.log10(value) for value in numbers if value > 0]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 1.0)
    if low == high:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    room = MARGIN * (high - low) if padded else 0.0
    to_zero = settings.get("rangemode") == "tozero" and kind == "linear" and low >= 0
    return Axis(kind, 0.0 if to_zero else low - room, high + room, (), settings)


def number_text(value: float) -> str:
    """A tick's number: plain where that is short, else as a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.6g}".replace("-", "−")
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    mantissa = f"{value / 10**exponent:.3g}".replace("-", "−")
    power = f"10{str(exponent).translate(SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{mantissa}×{power}"


def _steps(low: float, high: float, most: int) -> Sequence[float]:
    """Multiples of 1, 2 or 5 times a power of ten between the ends, whichever is larger."""
    low, high = min(low, high), max(low, high)
    rough = (high - low) / max(1, most)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
