"""Who ran what, with which code."""

from __future__ import annotations

import getpass
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("flexkd", "ray", "torch", "transformers")
"""Packages whose versions are recorded: those that can change a result."""


def current_user() -> str:
    """Login name, or "unknown" in a container whose user has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@cache
def provenance() -> dict[str, str]:
    """Tags with the versions of our packages and, in a checkout, the git revision."""
    tags = {}
    for package in PACKAGES:
        try:
            tags[f"flexkd.version.{package}"] = version(package)
        except PackageNotFoundError:
            continue  # run from a checkout, without installing it
    revision = git_revision(Path(__file__))
    if revision:
        tags["flexkd.revision"] = revision
        tags["mlflow.source.git.commit"] = revision.removesuffix("-dirty")
    return tags


def git_revision(file: Path) -> str:
    """Commit of the repository that tracks `file`, with "-dirty" if it has changes; else ""."""
    # A virtual environment may lie inside somebody else's repository, which does not track it.
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
