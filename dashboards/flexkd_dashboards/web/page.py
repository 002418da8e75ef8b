"""What a page is, and the view that it makes of a query."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .blocks import Block
from .query import Query
from .sources import Sources

__all__ = ["Block", "NotFoundError", "Page", "View", "by_path"]


@dataclass(frozen=True)
class View:
    """The content of a page for one query.

    title: heading of the page and title of the window.
    blocks: from top to bottom.
    lead: a sentence below the heading.
    status: of the HTTP response.
    refresh: seconds after which an open page updates its blocks; 0 for never. Such a view has no
        figures, and always the same blocks in the same order.
    """

    title: str
    blocks: Sequence[Block]
    lead: str = ""
    status: int = 200
    refresh: int = 0


@dataclass(frozen=True)
class Page:
    """A page of the app.

    path: of its URL without the leading slash; `{name}` are variable parts.
    title: in the navigation; "" leaves the page out of it.
    build: makes the view. It runs in a thread of its own, and may raise SpecError for a query that
        cannot be answered, UnavailableError and NotFoundError.
    """

    path: str
    title: str
    build: Callable[[Sources, Query], View]


class NotFoundError(LookupError):
    """What the path names does not exist; the text says what does."""


def by_path(pages: Iterable[Page]) -> dict[str, Page]:
    """The table of pages.

    Raises:
        ValueError: two pages have the same path.
    """
    found: dict[str, Page] = {}
    for page in pages:
        if page.path in found:
            raise ValueError(f"two pages have the path {page.path!r}")
        found[page.path] = page
    return found
