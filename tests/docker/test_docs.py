"""The docs of containers and Kubernetes say what the files do."""

from __future__ import annotations

import re
import subprocess

import pytest
import typer.main

from flexkd_platform.cli.app import app

from .compose import settings
from .conftest import DOCKER, ROOT
from .test_images import stages

TEXTS = {
    name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    for name in ("containers", "kubernetes")
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_options_of_flexkd_in_the_docs_are_there(name: str) -> None:
    command = typer.main.get_command(app)
    known = {
        option
        for sub in command.commands.values()  # type: ignore[attr-defined]
        for parameter in sub.params
        for option in parameter.opts
    }
    text = TEXTS[name].replace("\\\n", " ")
    calls = re.findall(r"^ *(?:\S.* )?flexkd (?:submit|run) (.*?)(?:\||$)", text, re.MULTILINE)
    used = {option for call in calls for option in re.findall(r"(?<!\S)--[a-z-]+", call)}
    assert used
    assert used <= known


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_files_in_the_docs_are_there(name: str) -> None:
    named = set(re.findall(r"\b(?:docker|dashboards|scripts|jobs|tests)/[\w./-]+", TEXTS[name]))
    assert named
    made = {"docker/.env", "docker/gpu.yaml"}  # by whoever follows the steps
    missing = {path for path in named - made if not (ROOT / path.rstrip(".")).exists()}
    assert missing == set()


def test_refusals_in_the_docs_are_those_of_the_entrypoint() -> None:
    shown = re.findall(r"^\$ docker run (.*)\n(flexkd: .*)$", TEXTS["containers"], re.MULTILINE)
    assert len(shown) == 2
    for command, told in shown:
        given = dict(pair.split("=") for pair in re.findall(r"-e (\S+)", command))
        done = subprocess.run(
            [str(DOCKER / "entrypoint.sh"), command.split()[-1]],
            env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (2, f"{told}\n")


def test_every_secret_and_target_is_told_of() -> None:
    for name in settings():
        assert name in TEXTS["containers"]
    for target in re.findall(r"--target (\w+)", TEXTS["containers"]):
        assert target in stages()
    for text in TEXTS.values():
        assert "## What was not run" in text


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_token_file_that_was_there_is_closed_too(name: str) -> None:
    """A file that is written to keeps its mode, whatever the umask."""
    written = [line for line in TEXTS[name].splitlines() if "> ~/.ray/auth_token" in line]
    assert written
    for line in written:
        after = TEXTS[name].partition(line)[2].splitlines()[1]
        assert "chmod 600 ~/.ray/auth_token" in line.partition("> ~/.ray/auth_token")[2] + after
