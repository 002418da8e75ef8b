"""Jobs on a real cluster, their drivers replaced by short commands: numbered, followed, stopped."""

from __future__ import annotations

import contextlib
import functools
import getpass
import json
import os
import re
import selectors
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ray.job_submission import JobErrorType

from flexkd_platform.cli.app import main
from flexkd_platform.cli.jobs import REMEDIES
from flexkd_platform.submission import ray_jobs as submission
from flexkd_platform.submission.entrypoint import entrypoint
from flexkd_platform.submission.logs import follow
from flexkd_platform.submission.ray_jobs import RayJobs

Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`driver(code)`: what the jobs run in place of `flexkd run`, as Python code."""

    def replace(code: str) -> None:
        command = shlex.join([sys.executable, "-uc", code])
        monkeypatch.setattr(submission, "entrypoint", lambda _: command)

    return replace


@pytest.fixture
def submit(
    ray_cluster: str, short_spec: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Submit]:
    """`submit(*options)`: what `flexkd submit --json` says; its jobs are stopped in the end."""
    ids = []

    def run(*options: str, name: str = "short") -> dict[str, Any]:
        storage = ["--storage", str(tmp_path / "storage"), "--address", ray_cluster, "--json"]
        capfd.readouterr()
        assert main(["submit", str(short_spec), *storage, "--set", f"name={name}", *options]) == 0
        told: dict[str, Any] = json.loads(capfd.readouterr().out)
        ids.append(told["id"])
        return told

    yield run
    jobs = RayJobs(ray_cluster)
    for job_id in ids:
        jobs.stop(job_id)


class Proxy:
    """Stands before a server and passes everything on, until the connections are cut."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port or 80)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._target)
                self._open += [near, far]
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    @staticmethod
    def _pass_on(near: socket.socket, far: socket.socket) -> None:
        other = {near: far, far: near}
        with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as waiting:
            for end in other:
                waiting.register(end, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    data = end.recv(65536)
                    if not data:
                        near.close()
                        far.close()
                        return
                    other[end].sendall(data)

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        """Take no more connections either."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()


@pytest.fixture
def proxy(ray_cluster: str) -> Iterator[Proxy]:
    proxy = Proxy(ray_cluster)
    yield proxy
    proxy.close()


@pytest.mark.ray
def test_attempts_are_numbered_and_one_runs_at_a_time(
    ray_cluster: str,
    submit: Submit,
    driver: Callable[[str], None],
    short_spec: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver("import time; time.sleep(600)")
    first = submit()
    again = [
        "submit",
        str(short_spec),
        "--storage",
        str(tmp_path / "storage"),
        "--address",
        ray_cluster,
    ]
    assert main(again) == 2
    said = capfd.readouterr().err
    assert f"this spec is already running, as {first['id']}" in said
    assert "--force" in said
    second = submit("--force")
    job = first["id"].removesuffix("-1")
    assert [told["id"] for told in (first, second)] == [f"{job}-1", f"{job}-2"]
    assert re.fullmatch(r"short-[0-9a-f]{8}", job)

    known = {found.id: found for found in RayJobs(ray_cluster).list()}
    tags = dict(known[f"{job}-2"].metadata)
    assert tags.pop("flexkd.revision", "")
    assert tags == {
        "flexkd.spec_hash": first["spec_hash"],
        "flexkd.job": job,
        "flexkd.user": getpass.getuser(),
        "flexkd.attempt": "2",
        "flexkd.version": version("flexkd"),
    }

    # Somebody else took the number after we had looked: Ray refuses it, and the next is taken.
    listed, real = [], RayJobs._all

    def late(self: RayJobs) -> Sequence[Any]:
        listed.append(1)
        return [] if len(listed) == 1 else real(self)

    monkeypatch.setattr(RayJobs, "_all", late)
    assert submit("--force")["attempt"] == 3
    monkeypatch.undo()

    for attempt in (1, 2, 3):
        options = ["--wait", "--json", "--address", ray_cluster]
        assert main(["jobs", "stop", f"{job}-{attempt}", *options]) == 0
        told = json.loads(capfd.readouterr().out)
        assert told == {"id": f"{job}-{attempt}", "stopped": True, "status": "STOPPED"}
    assert main(["jobs", "stop", f"{job}-1", "--address", ray_cluster]) == 0
    assert f"{job}-1 has already ended: STOPPED" in capfd.readouterr().out
    driver("print('done')")
    assert submit("--wait") | {"spec_hash": ""} == {
        "id": f"{job}-4",
        "spec_hash": "",
        "attempt": 4,
        "address": ray_cluster,
        "status": "SUCCEEDED",
        "exit_code": 0,
    }


@pytest.mark.ray
def test_a_log_is_followed_through_lost_connections(
    ray_cluster: str,
    submit: Submit,
    driver: Callable[[str], None],
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Between two cuts it prints only what is listened to live, and waits for that.
    driver(
        "import pathlib, time\n"
        f"folder, end = pathlib.Path({str(tmp_path)!r}), time.monotonic() + 900\n"
        "for n in range(60):\n"
        "    print(f'{n} größe\\n', end='')\n"  # one write: Ray writes to the same file
        "    heard = folder / f'from-{n}'\n"
        "    while n in (0, 12, 24, 36) and not heard.exists() and time.monotonic() < end:\n"
        "        time.sleep(0.1)\n"
        "raise SystemExit(2)"
    )
    job = submit(name="followed")["id"]
    shown, cuts = "", 0
    through = RayJobs(proxy.url)
    live = through.tail

    def tail(job_id: str) -> AsyncIterator[str]:
        (tmp_path / f"from-{cuts * 12}").touch()
        return live(job_id)

    monkeypatch.setattr(through, "tail", tail)
    for piece in through.follow(job, lambda _: None):
        shown += piece
        if cuts < 3 and f"{(cuts + 1) * 12} größe" in shown:
            proxy.cut()
            cuts += 1
    assert cuts == 3
    jobs = RayJobs(ray_cluster)
    assert shown == jobs.logs(job)
    assert re.findall(r"\d+ größe$", shown, re.MULTILINE) == [f"{n} größe" for n in range(60)]
    assert jobs.status(job).code == 2


@pytest.mark.ray
def test_a_head_that_is_gone_while_following_is_told_in_one_line(
    ray_cluster: str,
    submit: Submit,
    driver: Callable[[str], None],
    proxy: Proxy,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver("import time; print('begun'); time.sleep(600)")
    job = submit(name="left")["id"]

    def follow_until_it_breaks(*given: Any) -> Iterator[str]:
        for piece in follow(*given, patience=0.5):
            yield piece
            if "begun" in piece:
                proxy.close()

    monkeypatch.setattr(submission, "follow", follow_until_it_breaks)
    assert main(["jobs", "logs", job, "--follow", "--address", proxy.url]) == 1
    told = capfd.readouterr()
    assert "begun" in told.out
    first, last = told.err.splitlines()
    assert f"lost {proxy.url}: " in first
    assert "retrying for" in first
    assert f"the final status of {job} is unknown" in last
    assert f"flexkd jobs logs {job} --follow --address {proxy.url}" in last
    assert RayJobs(ray_cluster).status(job).status == "RUNNING"


@pytest.mark.ray
def test_ctrl_c_stops_the_following_and_not_the_job(
    ray_cluster: str,
    submit: Submit,
    driver: Callable[[str], None],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver("import time; print('begun'); time.sleep(600)")
    job = submit(name="going-on")["id"]

    def interrupted(*given: Any) -> Iterator[str]:
        for piece in follow(*given):
            yield piece
            if "begun" in piece:
                raise KeyboardInterrupt

    monkeypatch.setattr(submission, "follow", interrupted)
    assert main(["jobs", "logs", job, "--follow", "--address", ray_cluster]) == 1
    said = capfd.readouterr().err
    assert f"stopped following; {job} continues" in said
    assert f"flexkd jobs stop {job}" in said
    assert RayJobs(ray_cluster).status(job).status == "RUNNING"


@pytest.mark.ray
def test_a_runtime_environment_that_fails_is_shown_with_a_remedy(
    ray_cluster: str,
    submit: Submit,
    driver: Callable[[str], None],
    short_spec: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver("print('never')")
    gone = "gcs://_ray_pkg_0123456789abcdef.zip"
    monkeypatch.setattr(submission, "pack_code", lambda _: [gone])
    options = ["--storage", str(tmp_path / "storage"), "--address", ray_cluster, "--wait"]
    assert main(["submit", str(short_spec), "--set", "name=without", *options]) == 1
    told = capfd.readouterr()
    job = next(j.id for j in RayJobs(ray_cluster).list() if j.id.startswith("without-"))
    assert f"{job}: FAILED, exit code 1" in told.out
    assert "never" not in told.out.splitlines()
    assert f"{job} failed: runtime_env setup failed" in told.err
    assert "runtime_env_setup-" in told.err
    assert "Traceback" not in told.err
    assert not (tmp_path / "storage" / "jobs").exists()


@pytest.mark.ray
def test_what_is_not_there_is_a_wrong_request(
    ray_cluster: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for command in (["status"], ["logs"], ["logs", "--follow"], ["stop"], ["stop", "--wait"]):
        assert main(["jobs", *command, "nobody-1", "--address", ray_cluster]) == 2
        assert f"unknown job 'nobody-1' on {ray_cluster}" in capfd.readouterr().err


@pytest.mark.ray
def test_the_address_given_wins_over_the_environment(
    ray_cluster: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own client prefers these variables to what it is told."""
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    assert main(["jobs", "list", "--json", "--address", ray_cluster]) == 0
    assert isinstance(json.loads(capfd.readouterr().out), list)


@pytest.mark.ray
def test_a_cluster_of_this_machine_is_told_as_one(ray_cluster: str) -> None:
    """By what its dashboard says of its head."""
    assert RayJobs(ray_cluster).dashboard.on_this_machine


@pytest.mark.ray
def test_an_open_cluster_needs_no_token_whatever_the_mode_here(
    ray_cluster: str, tmp_path: Path
) -> None:
    """Ray's own client fails for want of a token where the mode says so."""
    command = [sys.executable, "-m", "flexkd_platform.cli", "jobs", "list", "--json"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}
    done = subprocess.run(
        [*command, "--address", ray_cluster],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), list)


def test_every_reason_that_ray_gives_has_a_remedy() -> None:
    """But the one of a driver that ended by itself: its log says why."""
    reasons = {reason.value for reason in JobErrorType}
    assert set(REMEDIES) == reasons - {"JOB_ENTRYPOINT_COMMAND_ERROR"}


def test_a_head_without_a_fitting_python_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=False)
    done = run(["/bin/sh", "-c", entrypoint(["--address", "auto"])], env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "no Python 3.11 or newer with Ray is on the PATH of the head" in done.stdout
