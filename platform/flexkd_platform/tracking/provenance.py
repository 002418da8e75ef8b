"""Provenance: the user, the package versions and the git revision of a run."""

from __future__ import annotations

import getpass
import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("flexkd", "ray", "torch", "transformers", "datasets", "mlflow", "pyarrow")
"""Packages whose versions are recorded."""

CARRIED = {"flexkd": "FLEXKD_VERSION", "revision": "FLEXKD_REVISION"}
"""Environment variables with the code version: a cluster receives the code without metadata."""

USER = "FLEXKD_USER"
"""Environment variable with the user who submitted a job to a cluster."""


def current_user() -> str:
    """The user who submitted the job or is logged in; "unknown" if the user has no name."""
    if os.environ.get(USER):
        return os.environ[USER]
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@cache
def provenance() -> dict[str, str]:
    """Tags with the versions of our packages and, in a checkout, the git revision."""
    tags = {f"flexkd.version.{package}": known for package, known in versions().items()}
    revision = os.environ.get(CARRIED["revision"]) or git_revision(Path(__file__))
    if revision:
        tags["flexkd.revision"] = revision
        tags["mlflow.source.git.commit"] = revision.removesuffix("-dirty")
    return tags


@cache
def versions() -> dict[str, str]:
    """Version by package; packages that are not installed are left out."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # a checkout that is not installed, or code uploaded to a cluster
    carried = os.environ.get(CARRIED["flexkd"])
    return {"flexkd": carried, **found} if carried else found


def carried_provenance() -> dict[str, str]:
    """Environment variables with the version of the code, to be sent along with the code."""
    found = {
        CARRIED["flexkd"]: versions().get("flexkd", ""),
        CARRIED["revision"]: provenance().get("flexkd.revision", ""),
    }
    return {name: value for name, value in found.items() if value}


def git_revision(file: Path) -> str:
    """Commit of the repository that tracks `file`, with "-dirty" if it has changes; else ""."""
    # A virtual environment may be inside an unrelated repository, which does not track it.
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return ""
    commit = _git(file.parent, "rev-parse", "HEAD")
    if not commit:
        return ""
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
