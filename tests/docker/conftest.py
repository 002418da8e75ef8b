"""Where the files of the containers are."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
BOARDS = ROOT / "dashboards" / "grafana"
