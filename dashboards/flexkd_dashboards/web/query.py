"""The query of a request: the whole state of a view, as its URL has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

EXPORT = "export"
"""The parameter that asks for a table of the view as a file, such as `leaderboard.csv`."""


@dataclass(frozen=True)
class Query:
    """Path and parameters of a request.

    path: without a leading or trailing slash.
    items: names and values in order; a name may occur more than once.
    parts: the variable parts of the path by name, such as the `job` of `jobs/{job}`.
    """

    path: str
    items: tuple[tuple[str, str], ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The last value of a parameter, without blanks around it."""
        found = [value for key, value in self.items if key == name]
        return found[-1].strip() if found else default

    def all(self, name: str) -> tuple[str, ...]:
        """The values of a parameter that are not empty, each once."""
        return tuple(dict.fromkeys(value for key, value in self.items if key == name and value))

    def has(self, name: str) -> bool:
        """Whether the parameter was given, even if it is empty."""
        return any(key == name for key, _ in self.items)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds; the default if it is missing or none."""
        text = self.text(name)
        return min(max(int(text), low), high) if text.isascii() and text.isdigit() else default

    def link(self, **changes: str | Iterable[str] | None) -> str:
        """The URL of this view with other values; None or "" removes a parameter."""
        kept = [(key, value) for key, value in self.items if key not in {EXPORT, *changes}]
        for name, value in changes.items():
            values = [value] if isinstance(value, str) else list(value or ())
            kept += [(name, one) for one in values if one]
        return url(self.path, [(key, value) for key, value in kept if value])


def url(path: str, items: Iterable[tuple[str, str]] = ()) -> str:
    """An absolute path with parameters."""
    text = urlencode(list(items))
    return f"/{quote(path)}" + (f"?{text}" if text else "")
