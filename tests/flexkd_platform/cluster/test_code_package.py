"""What travels to a cluster: the content of the wheel, the same bytes for the same code."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from flexkd_platform.cluster.code_package import PACKAGES, pack_code

CHECKOUT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def parcel(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return pack_code(tmp_path_factory.mktemp("parcel"))


def contents(root: Path) -> dict[str, tuple[int, int, bytes]]:
    return {
        path.relative_to(root).as_posix(): (
            path.stat().st_mode,
            int(path.stat().st_mtime),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in root.rglob("*")
    }


def test_the_same_code_is_the_same_bytes(parcel: list[Path], tmp_path: Path) -> None:
    from ray._private.runtime_env.packaging import get_uri_for_directory

    again = pack_code(tmp_path)
    assert contents(parcel[0].parent) == contents(tmp_path)
    uris = [[get_uri_for_directory(str(p), True) for p in paths] for paths in (parcel, again)]
    assert uris[0] == uris[1], "Ray would upload it again"


def test_it_holds_what_the_wheel_holds(parcel: list[Path], tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    for name in ("flexkd_core", "platform", "dashboards"):
        shutil.copytree(CHECKOUT / name, sources / name, ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, sources)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir"]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(tmp_path), str(sources)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {n: archive.read(n) for n in archive.namelist() if n.startswith(PACKAGES)}
    packed = {
        name: content
        for name, (_, _, content) in contents(parcel[0].parent).items()
        if name.startswith(PACKAGES) and (parcel[0].parent / name).is_file()
    }
    assert len(in_wheel) > 100
    code = {name for name in packed if ".dist-info" not in name}
    assert {name for name in in_wheel if ".dist-info" not in name} == code
    assert [name for name in code if in_wheel[name] != packed[name]] == []


def test_a_worker_needs_nothing_else_of_ours(parcel: list[Path], tmp_path: Path) -> None:
    """Version, data and page are found in a process that knows the parcel alone."""
    script = """
import importlib.metadata, pathlib
import flexkd_core, flexkd_dashboards, flexkd_platform
from flexkd_platform.data import builtin
print(importlib.metadata.version("flexkd"))
print(importlib.metadata.metadata("flexkd")["Name"])
print(len([f for f in importlib.metadata.files("flexkd") if not f.locate().is_file()]))
for module in (flexkd_core, flexkd_dashboards, flexkd_platform):
    print(module.__file__)
print((pathlib.Path(builtin.__file__).parent / "builtin" / "movie_reviews.parquet").is_file())
print((pathlib.Path(flexkd_dashboards.__file__).parent / "page.html").is_file())
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    # As Ray has it: each folder lies alone in one that is on the path.
    alone = []
    for path in parcel:
        place = tmp_path / path.name
        place.mkdir()
        shutil.copytree(path, place / path.name)
        alone.append(str(place))
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "PYTHONPATH": os.pathsep.join(alone)},
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    version, name, _, *rest = done.stdout.split()
    assert (version, name) == (importlib.metadata.version("flexkd"), "flexkd")
    assert all(place.startswith(str(tmp_path)) for place in rest[:3])
    assert rest[3:] == ["True", "True"]


def test_nothing_of_this_machine_goes_along(parcel: list[Path]) -> None:
    """No cache, no hidden file, and no path of the checkout that the metadata may hold."""
    info = parcel[-1]
    assert {path.name for path in info.iterdir()} <= {"METADATA", "RECORD", "entry_points.txt"}
    for path in parcel[0].parent.rglob("*"):
        assert path.name != "__pycache__"
        assert not path.name.startswith(".")
    for path in info.iterdir():
        assert str(CHECKOUT) not in path.read_text(encoding="utf-8")
