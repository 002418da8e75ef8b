"""Where the files of the containers are, and hosts to run them on as plain processes."""

from __future__ import annotations

from pathlib import Path

from ..cluster.conftest import make_host, network, postgres, s3

__all__ = ["make_host", "network", "postgres", "s3"]

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
BOARDS = ROOT / "dashboards" / "grafana"
