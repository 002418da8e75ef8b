"""Joining a cluster: what is refused, and what is kept quiet."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest

from flexkd_platform.cluster import head_probe as gcs
from flexkd_platform.cluster.connect import _native_stderr, join_cluster
from flexkd_platform.cluster.head_probe import IN_A_JOB, QUESTION, mode_of, prepare_to_join
from flexkd_platform.spec import SpecError


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nothing listens on, nor can."""
    with contextlib.closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if this process were in no cluster; asking Ray for one is an error."""
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray was asked, which takes minutes"))
    return


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nothing_listens_is_refused_at_once(
    form: str, closed_port: int, no_ray: None
) -> None:
    address = form.format(closed_port)
    with pytest.raises(SpecError) as caught:
        join_cluster(address, None)
    (problem,) = caught.value.problems
    assert problem.path == "--address"
    assert f"no Ray cluster can be joined at {address!r}" in problem.message
    assert "ray start --head" in problem.remedy


def test_what_does_not_answer_may_be_a_cluster(
    no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "ANSWER_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SpecError, match=r"the service did not respond within 0\.5 s"):
            join_cluster(address, None)


@pytest.fixture
def meeting_point() -> Iterator[Callable[[str | None], int]]:
    """`meeting_point(token)`: answers as the GCS of a cluster that wants it; returns its port."""
    servers = []

    def start(token: str | None) -> int:
        def answer(_: bytes, context: grpc.ServicerContext) -> bytes:
            given = dict(context.invocation_metadata()).get("authorization")
            if token is not None and given != f"Bearer {token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        service, _, method = QUESTION[1:].partition("/")
        handlers = {method: grpc.unary_unary_rpc_method_handler(answer)}
        server = grpc.server(ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return int(port)

    yield start
    for server in servers:
        server.stop(0).wait()


@pytest.fixture
def no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token anywhere; what a test sets in the environment is undone."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_ray_sends_a_token_to_a_cluster_that_wants_one(
    meeting_point: Callable[[str | None], int], no_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token-of-the-cluster")
    prepare_to_join(f"127.0.0.1:{meeting_point(None)}")
    assert "RAY_AUTH_MODE" not in os.environ
    prepare_to_join(f"127.0.0.1:{meeting_point('token-of-the-cluster')}")
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_cluster_that_wants_a_token_is_not_joined_without(
    meeting_point: Callable[[str | None], int], no_token: None
) -> None:
    with pytest.raises(SpecError, match="is in token mode, and no token was found here") as caught:
        prepare_to_join(f"127.0.0.1:{meeting_point('secret')}")
    assert "~/.ray/auth_token" in caught.value.problems[0].remedy


@pytest.mark.parametrize("mode", [None, "token"])
def test_a_token_file_that_others_can_read_is_refused(
    meeting_point: Callable[[str | None], int],
    no_token: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str | None,
) -> None:
    """Whether Ray is told to send it, as on the nodes themselves, or finds out that it must."""
    monkeypatch.delenv(IN_A_JOB, raising=False)
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("token")
    path.chmod(0o640)
    with pytest.raises(SpecError, match=f"chmod 600 {path}"):
        prepare_to_join(f"127.0.0.1:{meeting_point('token')}")


def test_auto_is_the_cluster_that_was_started_here(
    meeting_point: Callable[[str | None], int],
    no_token: None,
    closed_port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray leaves a note of it; an old one is passed over, as Ray looks further."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text(f"127.0.0.1:{closed_port}")
    prepare_to_join("auto")
    note.write_text(f"127.0.0.1:{meeting_point('secret')}")
    with pytest.raises(SpecError, match="is in token mode, and no token was found here"):
        prepare_to_join("auto")


@pytest.mark.ray
def test_the_real_meeting_point_is_recognised(ray_cluster: str) -> None:
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    assert mode_of("", host, int(port)) == "open"


def test_a_dashboard_is_no_meeting_point(no_ray: None) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(SpecError, match="to use a dashboard address, run flexkd submit"):
            join_cluster(f"127.0.0.1:{server.server_port}", None)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("in_a_job", [False, True])
def test_a_cluster_that_is_joined_gets_our_code(
    in_a_job: bool,
    meeting_point: Callable[[str | None], int],
    no_token: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its other nodes need not have it; a job of Ray Jobs has brought it already."""
    import ray

    asked: dict[str, object] = {}
    there: list[str] = []

    def init(**given: object) -> None:
        asked.update(given)
        env = given.get("runtime_env")
        if isinstance(env, dict):
            assert env["env_vars"] == {"OMP_WAIT_POLICY": "passive"}
            there.extend(path for path in env["py_modules"] if Path(path).is_dir())

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    if in_a_job:
        monkeypatch.setenv(IN_A_JOB, "{}")
    join_cluster(f"127.0.0.1:{meeting_point(None)}", None)
    names = [Path(path).name.partition("-")[0] for path in there]
    assert names == (
        [] if in_a_job else ["flexkd_core", "flexkd_platform", "flexkd_dashboards", "flexkd"]
    )


@pytest.mark.parametrize("error", [ConnectionError("gone\nfor good"), SystemExit(15)])
def test_what_ray_raises_is_one_line(
    error: BaseException, no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(SpecError) as caught:
        join_cluster("auto", None)
    message = caught.value.problems[0].message
    assert "\n" not in message
    assert isinstance(error, SystemExit) or "gone for good" in message


def test_compiled_code_writes_to_the_log_and_python_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.dup(2), "w", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "__stderr__", terminal)
        os.write(2, b"before|")
        with _native_stderr(tmp_path / "ray.log"):
            os.write(2, b"compiled")
            print("python|", end="", file=sys.stderr, flush=True)
        assert sys.stderr is terminal
        os.write(2, b"after")
    assert capfd.readouterr().err == "before|python|after"
    assert (tmp_path / "ray.log").read_text() == "compiled"


def test_what_is_not_logged_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    with _native_stderr(None):
        os.write(2, b"compiled")
    assert capfd.readouterr().err == ""


SECRETS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}


@pytest.mark.parametrize("there_already", [False, True])
def test_tune_is_told_no_keys_of_a_local_cluster_either(
    no_token: None, monkeypatch: pytest.MonkeyPatch, there_already: bool
) -> None:
    """Ray writes the runtime environment of trials into its logs, of whatever cluster."""
    import ray
    from ray.tune.execution import class_cache

    monkeypatch.setattr(class_cache, "ENV_VARS_TO_PROPAGATE", {"OTHER", *SECRETS})
    monkeypatch.setattr(ray, "is_initialized", lambda: there_already)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    join_cluster("local", None)
    assert {"OTHER"} == class_cache.ENV_VARS_TO_PROPAGATE


def test_a_wrong_token_is_told_before_ray_is_asked(
    meeting_point: Callable[[str | None], int], no_token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "token-of-another")
    address = f"127.0.0.1:{meeting_point('token-of-the-cluster')}"
    with pytest.raises(SpecError) as caught:
        prepare_to_join(address)
    (problem,) = caught.value.problems
    assert problem.message == (
        f"the cluster at {address} is in token mode and rejects the token from RAY_AUTH_TOKEN"
    )
    assert "token-of-another" not in str(problem)


def test_a_cluster_of_a_token_that_is_not_here_is_one_line_and_the_terminal_is_left(
    no_ray: None,
    meeting_point: Callable[[str | None], int],
    no_token: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In token mode, Ray wants a token even for a cluster that asks for none."""
    import ray
    from ray.exceptions import AuthenticationError

    def fail(**_: object) -> None:
        raise AuthenticationError("no token\nwas found")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(SpecError) as caught:
        join_cluster(f"127.0.0.1:{meeting_point(None)}", None)
    (problem,) = caught.value.problems
    assert "RAY_AUTH_MODE" in problem.message
    assert "requires a token, and none was found here" in problem.message
    assert "~/.ray/auth_token" in problem.remedy
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # so that Ray itself has to look for one
    with pytest.raises(SpecError) as caught:
        join_cluster("auto", None)
    (problem,) = caught.value.problems
    assert "no token was found" in problem.message
    assert "~/.ray/auth_token" in problem.remedy
    os.write(2, b"still the terminal")
    assert capfd.readouterr().err == "still the terminal"


@pytest.mark.parametrize("raised", [RuntimeError, KeyboardInterrupt, OSError, ArithmeticError])
def test_the_terminal_is_given_back_whatever_ray_raises(
    no_ray: None,
    no_token: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    raised: type[BaseException],
) -> None:
    import ray

    def fail(**_: object) -> None:
        raise raised

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(SpecError if raised is RuntimeError else raised) as caught:
        join_cluster("local", None)
    os.write(2, b"still the terminal")
    assert capfd.readouterr().err == "still the terminal"
    assert caught.tb is not None, "which keeps what was open alive"
