"""Which code ran, from git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from flexkd_platform.tracking.provenance import current_user, git_revision


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("1")
    author = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "code.py"], [*author, "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_revision_and_whether_it_was_changed(checkout: Path) -> None:
    clean = git_revision(checkout / "code.py")
    assert len(clean) == 40
    (checkout / "code.py").write_text("2")
    assert git_revision(checkout / "code.py") == f"{clean}-dirty"


def test_code_that_git_does_not_track_has_no_revision(checkout: Path) -> None:
    (checkout / "venv").mkdir()
    (checkout / "venv" / "installed.py").write_text("1")
    assert git_revision(checkout / "venv" / "installed.py") == ""


def test_no_name_for_the_user_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise OSError("no entry for uid 1234")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert current_user() == "unknown"
