"""What options say of themselves."""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.submission.kuberay import WORKER_MEMORY

PROJECT = Path(str(files("flexkd_platform"))).parents[1] / "pyproject.toml"


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints, without the frames and breaks of a terminal."""
    assert main(list(arguments)) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_the_version_is_that_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    assert shown(capsys, "--version") == f"flexkd {project['version']}"
    assert shown(capsys, "--version", "run") == f"flexkd {project['version']}", "eager"


@pytest.mark.parametrize("command", ["validate", "plan", "run", "submit", "compare"])
def test_where_runs_are_recorded_by_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "[default: (SQLite in the storage)]" in shown(capsys, command, "--help")


def test_compare_only_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert "record nothing" in shown(capsys, "run", "--help")
    assert "record nothing" not in shown(capsys, "compare", "--help")


def test_defaults_of_pods(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, "submit", "--help")
    assert "flexkd:VERSION-cuda with GPUs" in said
    assert f"[default: ({WORKER_MEMORY})]" in said


@pytest.mark.parametrize("arguments", [[], ["jobs"]])
def test_without_a_command_the_help_is_all_there_is(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Usage: " in captured.out
    assert captured.err == ""
