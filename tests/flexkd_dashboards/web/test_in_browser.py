"""The app in a real browser: it draws, filters, exports and updates, and nothing complains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import MadeUp, Watched, axe_findings, served, trials_of_a_job
from .written_jobs import JOB, ended, event, planned, results_of, started, write_job

pytestmark = pytest.mark.slow

PAGES = ("leaderboard", "curves", "search", "jobs", f"jobs/{JOB}")
NARROW = {"viewport": {"width": 400, "height": 800}}
Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("storage")
    events = [event("started", 0, trials=2, executor="ray"), started(1, 1), ended(1, 9)]
    write_job(folder, events, trials=[planned(1), planned(2)], results=results_of())
    return folder


@pytest.fixture(scope="module")
def url(storage: Path) -> Iterator[str]:
    """One app for all tests of the module."""
    with served(MadeUp(storage, trials_of_a_job())) as found:
        yield found


def widths(page: Any) -> tuple[int, int]:
    """Of the content and of the window."""
    found = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return found[0], found[1]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_fits_and_is_quiet(url: str, open_page: Open, scheme: str) -> None:
    watched = open_page(f"{url}/{PAGES[0]}", color_scheme=scheme, **NARROW)
    for path in PAGES:
        watched.page.goto(f"{url}/{path}")
        watched.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => (d.open = true))"
        )
        assert axe_findings(watched.page) == [], path
        content, window = widths(watched.page)
        assert content <= window, path
    assert watched.complaints == []


def test_filters_are_in_the_link_and_the_link_shows_them(url: str, open_page: Open) -> None:
    page = (watched := open_page(f"{url}/leaderboard")).page
    page.get_by_text("Metrics: of the task").click()
    page.get_by_label("validation/accuracy").check()
    page.get_by_label("Find in the rows").fill("flexkd")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/leaderboard?*metric=validation*")
    assert page.locator("tbody tr").count() == 3
    page.get_by_role("link", name="validation/accuracy %").click()
    page.get_by_role("link", name="validation/accuracy %").click()
    page.wait_for_url("**sort=-validation*")
    first = page.locator("tbody tr").first.inner_text()
    assert "α=0.05" in first

    again = open_page(page.url).page
    assert again.locator("main").inner_text() == page.locator("main").inner_text()
    page.get_by_role("link", name="Reset").click()
    assert page.url == f"{url}/leaderboard"
    assert watched.complaints == []


def test_tables_and_figures_are_exported(url: str, open_page: Open, tmp_path: Path) -> None:
    watched = open_page(f"{url}/curves")
    page = watched.page
    page.wait_for_selector(".main-svg .scatterlayer .trace")
    saved = {}
    for end in ("svg", "png"):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=end.upper(), exact=True).click()
        waiting.value.save_as(tmp_path / "figure")
        assert waiting.value.suggested_filename == f"curves-1.{end}"
        saved[end] = (tmp_path / "figure").read_bytes()
    assert b"<svg" in saved["svg"]
    assert b"Test accuracy" in saved["svg"]
    assert saved["png"].startswith(b"\x89PNG")
    page.goto(f"{url}/leaderboard")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    assert waiting.value.suggested_filename == "leaderboard-1.csv"
    assert watched.complaints == []


def test_a_key_press_hides_a_line_and_colours_are_remembered(url: str, open_page: Open) -> None:
    watched = open_page(f"{url}/curves", color_scheme="light")
    page = watched.page
    page.wait_for_selector(".main-svg .scatterlayer .trace")
    traces = page.locator(".scatterlayer .trace")
    before = traces.count()
    page.locator(".key button").first.press("Enter")
    traces.nth(before - 1).wait_for(state="detached")
    page.get_by_role("button", name="Switch to dark colours").click()
    page.goto(f"{url}/jobs")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    assert watched.complaints == []


def test_a_running_job_updates_without_moving_the_focus(
    url: str, storage: Path, open_page: Open
) -> None:
    watched = open_page(f"{url}/jobs")
    page = watched.page
    link = page.get_by_role("link", name=JOB)
    link.focus()
    assert "1 of 2" in page.locator("tbody").inner_text()
    with (storage / "jobs" / JOB / "ledger.jsonl").open("a") as ledger:
        ledger.write(f"{json.dumps(ended(2, 20))}\n")
    page.locator("tbody", has_text="2 of 2").wait_for()
    assert page.evaluate("document.activeElement.textContent") == JOB
    page.get_by_role("button", name="Pause updates").click()
    assert page.get_by_role("button", name="Resume updates").is_visible()
    assert watched.complaints == []


def test_a_page_survives_the_end_of_the_app(storage: Path, open_page: Open) -> None:
    with served(MadeUp(storage)) as url:
        page = open_page(f"{url}/jobs").page
    page.get_by_text("the dashboard does not answer; trying again").wait_for()
    assert page.get_by_role("link", name=JOB).is_visible()
