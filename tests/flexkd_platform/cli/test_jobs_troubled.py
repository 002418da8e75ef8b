"""`flexkd jobs` at a head that answers some questions with an error: a line, no traceback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main

JOB = {
    "type": "SUBMISSION",
    "submission_id": "a-1",
    "job_id": None,
    "status": "RUNNING",
    "entrypoint": "flexkd run spec.yaml",
    "metadata": {"flexkd.spec_hash": "1"},
    "start_time": 1,
}
ANSWERS: dict[str, object] = {
    "/api/authentication_mode": {"authentication_mode": "disabled"},
    "/api/version": {"version": "4", "ray_version": version("ray"), "ray_commit": ""},
    "/api/v0/cluster_metadata": {"data": {}},
    "/api/jobs/": [JOB],
    "/api/jobs/a-1": JOB,
    "/api/jobs/a-1/logs": {"logs": "epoch 1\n"},
    "/api/jobs/a-1/stop": {"stopped": True},
}


@pytest.fixture
def broken() -> dict[str, int]:
    """Status by path, of what the head answers with an error."""
    return {}


@pytest.fixture
def head(broken: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a head with one job."""
    monkeypatch.setenv("HOME", str(tmp_path))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status = broken.get(self.path, 200 if self.path in ANSWERS else 404)
            body = json.dumps(ANSWERS.get(self.path)) if status == 200 else "Traceback: no agent"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("command", "path"),
    [
        (["list"], "/api/jobs/"),
        (["status", "a-1"], "/api/jobs/a-1"),
        (["logs", "a-1"], "/api/jobs/a-1/logs"),
        (["stop", "a-1"], "/api/jobs/a-1/stop"),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 500, 502])
def test_a_head_that_cannot_answer_is_one_line(
    head: str,
    broken: dict[str, int],
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    path: str,
    status: int,
) -> None:
    assert main(["jobs", *command, "--address", head]) == 0
    broken[path] = status
    assert main(["jobs", *command, "--address", head]) == 2
    said = capsys.readouterr().err
    assert f"--address: {head}" in said or f"--address: lost {head}" in said
    assert "`ray status` on its head" in said


@pytest.mark.parametrize("name", ["", "a/1", "../jobs/a-1", "a-1?x=1", "nobody-1", "größe-1"])
def test_what_is_no_job_is_said_with_those_there_are(
    head: str, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["jobs", "status", name, "--address", head]) == 2
    said = capsys.readouterr().err
    assert f"unknown job {name!r} on {head}" in said
    assert "known: a-1" in said
