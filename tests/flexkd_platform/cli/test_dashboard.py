"""`flexkd dashboard`: what is refused before it serves anything."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from flexkd_dashboards.web import server
from flexkd_platform.cli.app import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been served: the sources, the host, and whether a browser opens."""
    calls: list[tuple[Any, ...]] = []

    def serve(sources: Any, listening: socket.socket, host: str, *, open_browser: bool) -> None:
        calls.append((sources, host, open_browser))

    monkeypatch.setattr("flexkd_dashboards.web.serve", serve)
    return calls


def test_the_address_is_printed_and_nothing_is_written(
    tmp_path: Path, served: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    storage = str(tmp_path / "none")
    assert main(["dashboard", "--storage", storage, "--port", "0", "--no-browser"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("http://127.0.0.1:")
    assert storage in err
    sources, host, browser = served[0]
    assert sources.tracking == f"sqlite:///{storage}/mlflow.db"
    assert (host, browser) == ("127.0.0.1", False)
    assert list(tmp_path.iterdir()) == []


def test_tracking_none_leaves_the_jobs(tmp_path: Path, served: list[tuple[Any, ...]]) -> None:
    arguments = ["dashboard", "--storage", str(tmp_path), "--tracking-uri", "none", "--port", "0"]
    assert main(arguments) == 0
    assert not served[0][0].has_tracking


def test_all_problems_are_reported_at_once(
    served: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = ["dashboard", "--storage", "ftp://x/y", "--tracking-uri", "folder/runs"]
        assert main([*arguments, "--port", port]) == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "3 problems" in text
    assert f"--port: cannot listen on 127.0.0.1:{port}: Address already in use" in text
    assert "--storage:" in text
    assert "--tracking-uri: 'folder/runs' is a folder" in text
    assert served == []


def test_a_host_that_does_not_exist(
    tmp_path: Path, served: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["dashboard", "--storage", str(tmp_path), "--host", "no.such.host.invalid"]
    assert main(arguments) == 2
    assert "cannot listen on no.such.host.invalid:8050" in capsys.readouterr().err
    assert main(["dashboard", "--port", "70000"]) == 2


def test_the_address_for_a_browser() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert server.address(listening, "0.0.0.0") == f"http://127.0.0.1:{port}"
        assert server.address(listening, "::1") == f"http://[::1]:{port}"
