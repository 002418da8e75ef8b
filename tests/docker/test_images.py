"""The Dockerfile and what it copies, as far as that can be known without building."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from .conftest import DOCKER, ROOT

DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
HADOLINT = str(Path(sys.executable).with_name("hadolint"))  # of the extra `dev`
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def stages() -> dict[str, str]:
    """The text of each stage by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", DOCKERFILE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_hadolint_finds_nothing_and_nothing_is_ignored() -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", str(DOCKER / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint ignore" not in DOCKERFILE


def test_hadolint_would_find_something() -> None:
    done = subprocess.run(
        [HADOLINT, "--no-color", "-"],
        input="FROM python:latest\nRUN pip install ray\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "DL3007" in done.stdout


def test_every_target_ends_as_the_same_user_who_is_not_root() -> None:
    for target in ("cpu", "cuda", "mlflow"):
        users = re.findall(r"^USER (.*)$", stages()[target], flags=re.MULTILINE)
        assert users == ["10001:10001"]
    assert {"cpu", "cuda", "mlflow"} <= set(stages())


def test_every_base_is_pinned_to_a_tag() -> None:
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", DOCKERFILE, flags=re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", image)
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert bases - set(stages()) == {"${PYTHON_IMAGE}"}


def test_the_image_carries_the_version_of_the_project() -> None:
    (given,) = re.findall(r"^ARG FLEXKD_VERSION=(.*)$", DOCKERFILE, flags=re.MULTILINE)
    assert given == PROJECT["version"]


def test_ray_is_the_pinned_one_in_images_and_manifests() -> None:
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^ray==(.*)$", constraints, flags=re.MULTILINE)
    manifests = sorted((DOCKER / "kuberay").glob("*.yaml"))
    assert manifests
    for manifest in manifests:
        found = re.findall(r"rayVersion: (\S+)", manifest.read_text(encoding="utf-8"))
        assert found == pinned
    assert pinned == [version("ray")]


def test_no_secret_is_baked_in() -> None:
    assert not re.search(r"^(ARG|ENV).*(TOKEN|PASSWORD|SECRET|KEY)", DOCKERFILE, re.MULTILINE)
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*", "a build sees what is named, and nothing else"
    assert ".env" not in {rule.removeprefix("!") for rule in rules if rule.startswith("!")}


def test_a_build_sees_all_that_it_copies() -> None:
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    seen = {line[1:] for line in ignored if line.startswith("!")}
    copies = re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*)$", DOCKERFILE, flags=re.MULTILINE)
    sources = {source for copy in copies for source in copy.split()[:-1]}
    assert sources
    assert sources <= seen
    for source in seen:
        assert (ROOT / source).exists(), f"{source} is let in but is not there"


@pytest.mark.parametrize("name", ["entrypoint.sh", "health.py", "buckets.py"])
def test_scripts_of_the_image_can_be_run(name: str) -> None:
    path = DOCKER / name
    assert path.stat().st_mode & 0o111
    assert path.read_text(encoding="utf-8").startswith("#!")
    assert f"docker/{name} /usr/local/bin/flexkd-{path.stem}" in DOCKERFILE


def test_requirements_of_the_images_are_those_of_the_project() -> None:
    requirements = runpy.run_path(str(DOCKER / "requirements.py"))["requirements"]
    names = ["mlflow", "boto3", "Flask-WTF", "psycopg2-binary"]
    server = requirements(PROJECT, "server")
    assert [line.partition(">")[0] for line in server] == names
    platform = requirements(PROJECT, "platform")
    assert set(PROJECT["dependencies"]) <= set(platform)
    assert set(PROJECT["optional-dependencies"]["quickstart"]) <= set(platform)
    assert not set(PROJECT["optional-dependencies"]["dev"]) & set(platform)
