"""The values of conditions on trials, and how recorded values compare with them."""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .records import Json

ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True)
class Value:
    """A value as written. json: what it is as JSON, the text itself if it is a word or quoted."""

    text: str
    json: Json

    @property
    def number(self) -> float:
        """The number; NaN if it is none."""
        is_number = isinstance(self.json, int | float) and not isinstance(self.json, bool)
        return float(self.json) if is_number else math.nan  # type: ignore[arg-type]

    @property
    def period(self) -> tuple[float, float] | None:
        """First second and end of a day or a minute, by the local clock; None if it is no date."""
        try:
            begin = datetime.fromisoformat(self.text)
        except ValueError:
            return None
        day = len(self.text) <= len("2026-11-01")
        end = begin + (timedelta(days=1) if day else timedelta(minutes=1))
        return begin.timestamp(), end.timestamp()


def value_of(text: str, *, quoted: bool) -> Value:
    """A value of a condition, from its text without quotes."""
    if quoted:
        return Value(text, text)
    try:
        return Value(text, json.loads(text))
    except json.JSONDecodeError:
        return Value(text, text)


def holds(recorded: Sequence[Json], how: str, wanted: Sequence[Value]) -> bool:
    """Whether one of the recorded values is as wanted; with `!=` and `not in`, whether none is.

    recorded: [] for a trial that does not have what is compared.
    """
    if how in {"!=", "not in"}:
        return not holds(recorded, "in", wanted)
    if how in {"=", "in"}:
        given = recorded or [None]
        return any(_equal(value, one) for value in given for one in wanted)
    if how == "~":
        return any(wanted[0].text.lower() in _text(value).lower() for value in recorded)
    order, limit = ORDERS[how], wanted[0].number
    return any(order(value, limit) for value in recorded if _is_number(value))  # type: ignore[arg-type]


def starts(started: float, how: str, wanted: Sequence[Value]) -> bool:
    """Whether a trial started as wanted: a day is compared as a whole. 0: unknown."""
    if how in {"!=", "not in"}:
        return not starts(started, "in", wanted)
    periods = [one.period for one in wanted if one.period is not None]
    if not started or not periods:
        return False
    if how in {"=", "in"}:
        return any(begin <= started < end for begin, end in periods)
    begin, end = periods[0]
    return {
        "<": started < begin,
        "<=": started < end,
        ">": started >= end,
        ">=": started >= begin,
    }[how]


def _equal(recorded: Json, wanted: Value) -> bool:
    if isinstance(recorded, list | tuple):
        return wanted.text == _text(recorded) or any(_equal(one, wanted) for one in recorded)
    if _is_number(recorded):
        return float(recorded) == wanted.number  # type: ignore[arg-type]
    if isinstance(recorded, str):
        return recorded == wanted.text
    return recorded is wanted.json  # true, false, null


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
