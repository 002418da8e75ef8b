"""The app in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import MadeUp, Watched, axe_findings, served, trials_of_a_job


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One app for all tests of the module."""
    folder: Path = tmp_path_factory.mktemp("storage")
    with served(MadeUp(folder, trials_of_a_job())) as found:
        yield found


def test_the_first_page_is_the_leaderboard(url: str, open_page: Callable[..., Watched]) -> None:
    watched = open_page(url)
    assert watched.page.title() == "Leaderboard · flexkd"
    assert axe_findings(watched.page) == []
    assert watched.complaints == []
