"""Joining a cluster: what is refused, and what is kept quiet."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flexkd_platform.executors.ray_cluster import _make_private_token, _native_stderr, join_cluster
from flexkd_platform.spec import SpecError


@pytest.fixture
def closed_port() -> int:
    """A port that nothing listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    assert "\n" not in caught.value.problems[0].message


def test_the_token_we_make_is_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    _make_private_token()
    path = tmp_path / ".ray" / "auth_token"
    token = path.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _make_private_token()
    assert path.read_text() == token, "one that is there is kept"


def test_no_token_is_made_where_the_user_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    _make_private_token()
    assert not (tmp_path / ".ray").exists()


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
