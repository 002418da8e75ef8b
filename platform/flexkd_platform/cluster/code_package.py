"""The code package that is uploaded to a cluster: the content of this project's wheel, unpacked.

A cluster needs our dependencies, but not our code, a checkout or a shared path. See
docs/adr/0012-what-travels.md.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

DISTRIBUTION = "flexkd"
PACKAGES = ("flexkd_core", "flexkd_platform", "flexkd_dashboards")

LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
"""Caches and hidden files are excluded: Ray would apply a `.gitignore` to the upload."""

WHEN = 315532800
"""Modification time of every file (1 January 1980), so that the same code gives the same bytes."""


@contextmanager
def packed_code() -> Iterator[list[Path]]:
    """Folders for a worker's Python path: our packages with their data, and our metadata.

    Ray names each by a hash of its content, and uploads only what the cluster does not have yet.
    """
    with tempfile.TemporaryDirectory(prefix="flexkd-code-") as scratch:
        yield pack_code(Path(scratch))


def pack_code(target: Path) -> list[Path]:
    """Write the folders of `packed_code` to `target`; returns their paths."""
    folders = []
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        assert found is not None
        assert found.submodule_search_locations
        copied = shutil.copytree(
            found.submodule_search_locations[0], target / package, ignore=LEFT_BEHIND
        )
        folders.append(Path(copied))
    metadata, entry_points = _metadata()
    version = next(
        line.removeprefix("Version:").strip()
        for line in metadata.splitlines()
        if line.startswith("Version:")
    )
    info = target / f"{DISTRIBUTION}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    if entry_points:
        (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    _write_record(target, info)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (WHEN, WHEN))
    return [*folders, info]


def _write_record(root: Path, info: Path) -> None:
    """Write RECORD as in a wheel: each file with its content digest and size."""
    lines = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            name = path.relative_to(root).as_posix()
            lines.append(f"{name},sha256={digest.decode()},{len(content)}")
    lines.append(f"{info.name}/RECORD,,")
    (info / "RECORD").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _metadata() -> tuple[str, str]:
    """METADATA and entry points of the installed package, or of the checkout that is running."""
    try:
        installed = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return _metadata_of_checkout(), ""
    return _text(installed, "METADATA", "PKG-INFO"), _text(installed, "entry_points.txt")


def _text(installed: Distribution, *names: str) -> str:
    return next((text for name in names if (text := installed.read_text(name))), "")


def _metadata_of_checkout() -> str:
    """METADATA with name and version only, from the `pyproject.toml` next to our packages."""
    found = importlib.util.find_spec(PACKAGES[0])
    assert found is not None
    assert found.origin is not None
    text = (Path(found.origin).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    version = tomllib.loads(text)["project"]["version"]
    return f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n"
