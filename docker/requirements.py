"""Print an image's requirements from pyproject.toml: `platform` for jobs, `server` for MLflow.

Runs while an image is built, when only Python is installed.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PLATFORM_EXTRAS = ("quickstart", "gguf", "server")
"""A job writes to S3 and MLflow itself, so it needs the extra `server`, too."""


def requirements(project: dict[str, object], image: str) -> list[str]:
    """The requirement lines of an image."""
    dependencies = project["dependencies"]
    extras = project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    if image == "server":
        return [line for line in dependencies if line.startswith("mlflow")] + extras["server"]
    return dependencies + [line for extra in PLATFORM_EXTRAS for line in extras[extra]]


if __name__ == "__main__":
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("\n".join(requirements(project, sys.argv[1])))
