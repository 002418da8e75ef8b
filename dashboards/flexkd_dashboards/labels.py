"""Format names, settings, durations and p-values, the same in every table and figure."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .metric_styles import ABSENT, MINUS
from .report_data import Setup

NO_BREAK = "\N{NO-BREAK SPACE}"
GREEK = {"alpha": "α", "beta": "β", "lambda": "λ", "temperature": "τ"}

GroupKey = tuple[str, tuple[tuple[str, str], ...]]
"""Method and settings, hashable: what a group's trials and curves have in common."""


def group_key(method: str, params: Mapping[str, Any]) -> GroupKey:
    """What identifies a group; settings compare by their printed value."""
    return method, tuple(sorted((name, _setting(value)) for name, value in params.items()))


def settings_text(params: Mapping[str, Any]) -> str:
    """All settings, as "α = 0.05, distill.learning_rate = 0.0003"; a dash if there are none.

    Lines break between settings only.
    """
    settings = (f"{GREEK.get(name, name)} = {_setting(value)}" for name, value in params.items())
    return ", ".join(text.replace(" ", NO_BREAK) for text in settings) or ABSENT


def setup_labels(setups: Sequence[Setup]) -> dict[GroupKey, str]:
    """A short label for each setup: its method, its α, and what else varies within its method."""
    return _labels(setups, hidden=())


def series_labels(setups: Sequence[Setup]) -> dict[GroupKey, str]:
    """The label of each setup's line when α is the x axis: all settings but α."""
    return _labels(setups, hidden=("alpha",))


def figure_text(text: str) -> str:
    """`text` escaped for Plotly, which interprets tags and %{…} in labels."""
    return html.escape(text, quote=False).replace("%{", "%&#123;")


def duration(seconds: float | None) -> str:
    """Wall time in the two largest units that matter."""
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def p_text(p: float | None) -> str:
    """A p-value as "p = 0.012" or "p < 0.001", non-breaking; "no p-value" if there is none."""
    if p is None or math.isnan(p):
        return "no p-value"
    value = "< 0.001" if p < 0.001 else f"= {p:.2g}" if p < 0.1 else f"= {p:.2f}"
    return f"p {value}".replace(" ", NO_BREAK)


def sentence_case(text: str) -> str:
    """`text` with its first letter capitalized, otherwise unchanged: "Test F1"."""
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """`number` and `noun`, in the plural unless there is one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _labels(setups: Sequence[Setup], hidden: tuple[str, ...]) -> dict[GroupKey, str]:
    distinct = {group_key(*setup): setup for setup in setups}
    short = _short_names({name for _, params in distinct.values() for name in params})
    labels = {}
    for key, (method, params) in distinct.items():
        siblings = [others for name, others in distinct.values() if name == method]
        shown = {
            short[name]: value
            for name, value in params.items()
            if name not in hidden and (name == "alpha" or _varies(name, siblings))
        }
        labels[key] = f"{method}, {settings_text(shown)}" if shown else method
    return labels


def _short_names(paths: set[str]) -> dict[str, str]:
    """The last part of each dotted path, or the whole path if two have the same last part."""
    ends = Counter(path.rpartition(".")[2] for path in paths)
    return {
        path: end if ends[end := path.rpartition(".")[2]] == 1 else path for path in sorted(paths)
    }


def _varies(name: str, siblings: Sequence[Mapping[str, Any]]) -> bool:
    return len({_setting(params.get(name)) for params in siblings}) > 1


def _setting(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}".replace("-", MINUS) if value < 0 else f"{value:g}"
    return str(value)
