"""Where a cluster's token is looked for, and which file is not taken."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from flexkd_platform.cluster.auth_token import find_token
from flexkd_platform.cluster.connect import _use_private_token
from flexkd_platform.spec import SpecError

SECRET = "s3cr3t" * 8


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, and an environment that says nothing of one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str = SECRET, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def refusal() -> str:
    with pytest.raises(SpecError) as caught:
        find_token()
    (problem,) = caught.value.problems
    assert SECRET not in str(problem)
    return str(problem)


def test_the_places_in_rays_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_token() is None
    write(home / ".ray" / "auth_token", "of the home\n")
    found = [find_token()]
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write(home / "named", "of the file")))
    found.append(find_token())
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of the variable")
    found.append(find_token())
    assert [token and token.text for token in found] == [
        "of the home",
        "of the file",
        "of the variable",
    ]


def test_a_token_does_not_show_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", SECRET)
    token = find_token()
    assert token is not None
    assert SECRET not in f"{token!r} {token}"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_that_others_can_reach_is_refused(home: Path, mode: int) -> None:
    path = write(home / ".ray" / "auth_token", mode=mode)
    said = refusal()
    assert f"{path} can be read by others (mode {mode:04o})" in said
    assert f"chmod 600 {path}" in said
    path.chmod(0o600)
    assert find_token() is not None


def test_a_named_file_that_is_not_there_or_empty_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "nowhere"))
    assert "nowhere cannot be read: No such file" in refusal()
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(write(home / "empty", "\n")))
    assert "empty is empty" in refusal()


def test_a_local_cluster_gets_a_token_for_its_owner_alone(home: Path) -> None:
    _use_private_token()
    path = home / ".ray" / "auth_token"
    token = path.read_text()
    assert len(token) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    _use_private_token()
    assert path.read_text() == token, "one that is there is kept"


def test_a_local_cluster_is_not_guarded_by_a_token_that_others_know(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(home / ".ray" / "auth_token", mode=0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")  # so that it is undone
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    _use_private_token()
    token = find_token()
    assert token is not None
    assert token.place == "RAY_AUTH_TOKEN"
    assert token.text != SECRET
    assert path.read_text() == SECRET, "it may be that of a cluster elsewhere"


def test_no_token_is_made_where_the_user_decided(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    _use_private_token()
    assert not (home / ".ray").exists()


@pytest.mark.parametrize("mode", ["token", "TOKEN"])
def test_a_token_that_is_wanted_is_made_for_its_owner_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Ray would write it itself, for all to read, and we would refuse it from then on."""
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    _use_private_token()
    found = find_token()
    assert found is not None
    assert found.place == str(home / ".ray" / "auth_token")
