"""The app over made-up trials and over a storage with written jobs; and a real browser."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from flexkd_dashboards.web import Sources, create_app
from flexkd_platform.tracking import Recorded, TrialRecord

CHROMIUM = next((p for name in ("chromium", "chrome") if (p := shutil.which(name))), None)


class MadeUp(Sources):
    """Sources whose tracking store has these trials; `failure` is raised instead of reading."""

    def __init__(self, storage: Path, records: Sequence[TrialRecord] = ()) -> None:
        super().__init__(str(storage), f"sqlite:///{storage}/mlflow.db")
        self.records = list(records)
        self.failure: Exception | None = None

    def _read(self) -> Recorded:
        if self.failure is not None:
            raise self.failure
        return Recorded(self.records, {"1" * 64: "quickstart-11111111"})


def trial(number: int, method: str, seed: int, quality: float, **changes: Any) -> TrialRecord:
    """A finished trial of a classification on movie reviews."""
    params = changes.pop("params", {})
    settings = {
        "task": "classification",
        "dataset.name": "movie-reviews",
        "distill.epochs": 2,
        "method.kind": method,
        **{f"method.{name}": value for name, value in params.items()},
        **changes.pop("settings", {}),
    }
    found = {
        "hash": f"{number:064x}",
        "method": method,
        "params": params,
        "settings": settings,
        "seed": seed,
        "status": "done",
        "metrics": {"test/accuracy": quality, "validation/accuracy": quality + 0.01},
        "seconds": 12.5,
        "users": ("anna",),
        "jobs": ("1" * 64,),
        "experiment": "quickstart",
        "started": 1_780_000_000.0 + number,
    }
    return TrialRecord(**{**found, **changes})


def trials_of_a_job(seeds: Sequence[int] = (1, 2, 3, 4, 5)) -> list[TrialRecord]:
    """Fine-tuning, and Flex-KD with three α of which the largest is better by far."""
    found = []
    for seed in seeds:
        noise = 0.001 * (seed * 7919 % 5)
        found.append(trial(len(found), "ft", seed, 0.70 + noise))
        for alpha, gain in ((0.05, 0.0), (0.5, 0.01), (5.0, 0.08)):
            quality = 0.70 + gain + 0.001 * (seed * 104729 % 7)
            found.append(trial(len(found), "flexkd", seed, quality, params={"alpha": alpha}))
    return found


@pytest.fixture
def sources(tmp_path: Path) -> MadeUp:
    """An empty storage, and the trials of one job."""
    return MadeUp(tmp_path, trials_of_a_job())


@pytest.fixture
def client(sources: MadeUp) -> TestClient:
    """The app without a server; an error in it is raised."""
    return TestClient(create_app(sources))


@contextmanager
def served(sources: Sources) -> Iterator[str]:
    """The app on a free port, in a thread; yields its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(sources), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@dataclass
class Watched:
    """A browser page with what its console said and which other machines it asked."""

    page: Any
    console: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @property
    def complaints(self) -> list[str]:
        """What should not have happened."""
        return self.console + self.elsewhere


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, one a module; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("needs chromium, which is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Watched]]:
    """Opens pages; settings are those of Playwright's `new_context`."""
    contexts = []

    def open_one(url: str, **settings: Any) -> Watched:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        contexts.append(context)
        watched = Watched(context.new_page())
        origin = "/".join(url.split("/")[:3])
        local = (f"{origin}/", "data:", "blob:")

        def on_request(request: Any) -> None:
            if not request.url.startswith(local):
                watched.elsewhere.append(request.url)

        def on_console(message: Any) -> None:
            if message.type in {"error", "warning"}:
                watched.console.append(message.text)

        watched.page.on("request", on_request)
        watched.page.on("console", on_console)
        watched.page.on("pageerror", lambda error: watched.console.append(str(error)))
        watched.page.goto(url)
        return watched

    yield open_one
    for context in contexts:
        context.close()


def axe_findings(page: Any) -> list[str]:
    """What axe-core finds on a page that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"]
    ]
