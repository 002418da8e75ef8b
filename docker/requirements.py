"""Print what an image installs, from pyproject.toml: `platform` for jobs, `server` for MLflow.

Run while an image is built, where nothing but Python is there yet.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PLATFORM_EXTRAS = ("quickstart", "gguf", "server")
"""A job writes to S3 and MLflow itself, so it needs what `server` holds, too."""


def requirements(project: dict[str, object], image: str) -> list[str]:
    """Requirement lines of an image."""
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
