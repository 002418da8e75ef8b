"""A head whose answers get lost: what is said of a job is true, and its id is never lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.submission import logs as following
from flexkd_platform.submission import ray_jobs as submission

TAKEN = "POST /api/jobs/"

LOSE = 0
"""In place of a status: the connection is closed without an answer."""

ELSEWHERE = "http://elsewhere.invalid"


class Head:
    """Answers as a head does, but for what `plan` has: by request, statuses of its next answers, of
    which the last stays. What is lost on the way back has been done all the same.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.plan: dict[str, list[int]] = {}
        self.heard: list[str] = []
        self.takes = True
        self.after: Callable[[str], None] = lambda _: None
        head = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                request = f"{self.command} {self.path}"
                head.heard.append(request)
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                planned = head.plan.get(request, [200])
                status = planned.pop(0) if len(planned) > 1 else planned[0]
                found, body = head.answer(self.command, self.path, sent)
                head.after(request)
                if status == LOSE:
                    self.close_connection = True
                    return
                self.send_response(found if status == 200 else status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{ELSEWHERE}{self.path}?secret")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, job_id: str, status: str = "RUNNING", **more: Any) -> None:
        """A job; without metadata, not one of ours."""
        fixed = {"type": "SUBMISSION", "job_id": None, "entrypoint": "true", "start_time": 1}
        self.jobs[job_id] = {**fixed, "submission_id": job_id, "status": status, **more}

    def once_taken(self, statuses: list[int]) -> None:
        """Plan the answers to questions about a job, from its submission on."""

        def plan(request: str) -> None:
            if request == TAKEN:
                (job_id,) = self.jobs
                self.plan[f"GET /api/jobs/{job_id}"] = statuses

        self.after = plan

    def answer(self, method: str, path: str, sent: bytes) -> tuple[int, bytes]:
        known: dict[str, Any] = {
            "/api/authentication_mode": {"authentication_mode": "disabled"},
            "/api/version": {"version": "4", "ray_version": version("ray"), "ray_commit": ""},
            "/api/v0/cluster_metadata": {"data": {}},
            "/api/jobs/": list(self.jobs.values()),
            **{f"/api/jobs/{name}": job for name, job in self.jobs.items()},
            **{f"/api/jobs/{name}/logs": {"logs": "epoch 1\n"} for name in self.jobs},
            **{f"/api/jobs/{name}/stop": {"stopped": True} for name in self.jobs},
        }
        if path.startswith("/api/packages/"):
            return 200, b""
        if (method, path) == ("POST", "/api/jobs/"):
            job = json.loads(sent)
            if job["submission_id"] in self.jobs:
                return 500, f"Job with submission_id {job['submission_id']} already exists".encode()
            if self.takes:
                self.add(job["submission_id"], metadata=job["metadata"])
            return 200, json.dumps({"job_id": "", "submission_id": job["submission_id"]}).encode()
        if path not in known:
            return 404, b"not there"
        return 200, json.dumps(known[path]).encode()


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    """A head without jobs; nobody waits for it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(following, "PAUSES", (0.0,))
    monkeypatch.setattr(submission, "POLL_SECONDS", 0.0)
    head = Head()
    yield head
    head.server.shutdown()
    head.server.server_close()


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second lost answer in a row is one too many."""
    monkeypatch.setattr(following, "RECONNECT_SECONDS", 0.0)
    monkeypatch.setattr(following, "LOG_SECONDS", 0.0)


Submit = Callable[..., int]


@pytest.fixture
def submit(head: Head, short_spec: Path, tmp_path: Path) -> Submit:
    """`submit(*options)`: the exit code of a submission to the head."""
    places = ["--storage", str(tmp_path / "storage"), "--tracking-uri", "none"]
    return lambda *options: main(
        ["submit", str(short_spec), *places, "--address", head.url, *options]
    )


@pytest.mark.parametrize("how", [LOSE, 502, 504])
def test_a_job_that_was_taken_without_an_answer_is_found(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str], how: int
) -> None:
    head.plan[TAKEN] = [how]
    assert submit("--json") == 0
    told = capsys.readouterr()
    (job_id,) = head.jobs
    assert json.loads(told.out)["id"] == job_id
    assert f"checking whether it accepted {job_id}" in told.err
    assert head.heard.count(TAKEN) == 1, "a job is not submitted twice"


def test_a_head_that_is_away_for_a_while_is_asked_again(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    head.plan[TAKEN] = [LOSE]
    head.once_taken([LOSE, 502, LOSE, 200])
    assert submit() == 0
    told = capsys.readouterr()
    assert "retrying for" in told.err
    assert f"submitted {next(iter(head.jobs))} to {head.url}" in told.out


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize("options", [[], ["--wait"]])
def test_a_job_that_may_be_running_is_named(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    head.plan[TAKEN] = [LOSE]
    head.once_taken([LOSE])
    assert submit("--json", *options) == 1
    (job_id,) = head.jobs
    told = capsys.readouterr()
    assert f"{job_id} may be running" in told.err
    assert f"`flexkd jobs status {job_id} --address {head.url}`" in told.err
    assert "nothing was started" not in told.err
    shown = json.loads(told.out)
    assert (shown["id"], shown["status"], shown["exit_code"]) == (job_id, "unknown", None)


def test_a_job_that_the_head_knows_nothing_of_was_not_taken(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    head.plan[TAKEN], head.takes = [LOSE], False
    assert submit() == 2
    assert "did not accept the job" in capsys.readouterr().err
    asked = [request for request in head.heard if request.startswith("GET /api/jobs/short-")]
    assert len(asked) == submission.DENIALS


def test_an_answer_is_believed_without_a_further_question(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    """The head goes away after it has said yes."""

    head.once_taken([LOSE])
    assert submit() == 0
    assert f"submitted {next(iter(head.jobs))} to" in capsys.readouterr().out


@pytest.mark.usefixtures("no_patience")
def test_a_job_that_was_submitted_is_named_even_if_it_cannot_be_followed(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    head.once_taken([LOSE])
    assert submit("--wait") == 1
    told = capsys.readouterr()
    (job_id,) = head.jobs
    assert f"submitted {job_id} to" in told.out
    assert f"the final status of {job_id} is unknown" in told.err
    assert "nothing was started" not in told.err


def test_numbers_of_jobs_that_are_not_ours_are_taken_too(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submit("--json") == 0
    first = json.loads(capsys.readouterr().out)["id"]
    head.jobs.clear()
    head.add(first, "SUCCEEDED")  # resubmitted by hand, without our metadata
    assert submit("--json") == 0
    assert json.loads(capsys.readouterr().out)["id"] == first.removesuffix("-1") + "-2"
    assert head.heard.count(TAKEN) == 2


def test_others_that_are_always_faster_are_given_up(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the head lists none of them."""
    head.plan[TAKEN] = [500]
    head.takes = False
    answer = head.answer

    def refuse(method: str, path: str, sent: bytes) -> tuple[int, bytes]:
        status, body = answer(method, path, sent)
        return status, b"already exists" if (method, path) == ("POST", "/api/jobs/") else body

    head.answer = refuse  # type: ignore[method-assign]
    assert submit() == 2
    assert (
        f"concurrent submissions used all {submission.NUMBERS} numbers" in capsys.readouterr().err
    )
    assert head.heard.count(TAKEN) == submission.NUMBERS


@pytest.mark.parametrize("status", [302, 307])
def test_a_submission_is_not_sent_elsewhere(
    head: Head, submit: Submit, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """Ray's own client would make a GET of it, and fail at the answer."""
    head.plan[TAKEN], head.takes = [status], False
    assert submit() == 2
    said = capsys.readouterr().err
    assert f"did not accept the job: {head.url} redirects to {ELSEWHERE}/api/jobs/" in said
    assert "secret" not in said


STATUS = "GET /api/jobs/a-1"
STOP = "POST /api/jobs/a-1/stop"


def stop_and_wait(head: Head) -> int:
    return main(["jobs", "stop", "a-1", "--wait", "--json", "--address", head.url])


@pytest.mark.parametrize("lost", [STATUS, STOP])
def test_the_wait_for_a_stop_outlasts_lost_answers(
    head: Head, capsys: pytest.CaptureFixture[str], lost: str
) -> None:
    head.add("a-1")
    head.plan[lost] = [200, LOSE, 502, 200] if lost == STATUS else [LOSE, 502, 200]

    def end(request: str) -> None:
        if request == STATUS and len(head.plan[lost]) == 1:
            head.jobs["a-1"]["status"] = "STOPPED"

    head.after = end
    assert stop_and_wait(head) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"id": "a-1", "stopped": True, "status": "STOPPED"}
    assert "retrying for" in told.err


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize(
    ("plan", "stopped", "said"),
    [
        ({STATUS: [200, LOSE]}, True, "a-1 is stopping; its final status is unknown"),
        ({STOP: [LOSE]}, None, "a-1 may be stopping; its final status is unknown"),
    ],
)
def test_a_stop_that_is_given_up_says_what_was_done(
    head: Head,
    capsys: pytest.CaptureFixture[str],
    plan: dict[str, list[int]],
    stopped: bool | None,
    said: str,
) -> None:
    head.add("a-1")
    head.plan |= plan
    assert stop_and_wait(head) == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == {"id": "a-1", "stopped": stopped, "status": "unknown"}
    assert said in told.err
    assert f"`flexkd jobs status a-1 --address {head.url}`" in told.err
    assert "nothing was started" not in told.err


@pytest.mark.parametrize("status", [302, 400])
def test_a_stop_that_is_refused_is_asked_for_once(
    head: Head, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    """It would be refused again, for all of three minutes."""
    head.add("a-1")
    head.plan[STOP] = [status]
    assert stop_and_wait(head) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert head.url in problem["message"]
    assert head.heard.count(STOP) == 1


def test_a_cluster_that_was_started_anew_is_not_waited_for(
    head: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    head.add("a-1")
    head.after = lambda request: head.jobs.clear() if request == STOP else None
    assert stop_and_wait(head) == 1
    assert "was restarted and no longer has job a-1" in capsys.readouterr().err


@pytest.mark.usefixtures("no_patience")
@pytest.mark.parametrize(
    ("ended", "code"),
    [({"status": "SUCCEEDED"}, 0), ({"status": "FAILED", "driver_exit_code": 2}, 2)],
)
def test_how_a_job_ended_is_told_without_its_log(
    head: Head, capsys: pytest.CaptureFixture[str], ended: dict[str, Any], code: int
) -> None:
    head.add("a-1", **ended)
    head.plan["GET /api/jobs/a-1/logs"] = [500]
    assert main(["jobs", "logs", "a-1", "--follow", "--address", head.url]) == code
    told = capsys.readouterr()
    assert f"a-1: {ended['status']}, exit code {code}" in told.out
    assert "the rest of its log could not be read" in told.err


@pytest.mark.parametrize("user", ["[/x]", "DOMAIN[red]bob", ":bomb:", "bob\\"])
def test_names_of_others_are_shown_as_they_are(
    head: Head, capsys: pytest.CaptureFixture[str], user: str
) -> None:
    head.add("a-1", metadata={"flexkd.spec_hash": "1", "flexkd.user": user})
    assert main(["jobs", "list", "--address", head.url]) == 0
    assert f" {user} " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["[/x]", "a[red]b", "a\\[red]b", ":bomb:"])
def test_problems_are_shown_as_they_are(
    head: Head, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["jobs", "status", name, "--address", head.url]) == 2
    assert f"unknown job {name!r} on" in capsys.readouterr().err
