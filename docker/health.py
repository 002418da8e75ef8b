#!/usr/bin/env -S python3 -I
"""Health check of a container: `flexkd-health head|worker|mlflow`; exit code 0 means healthy.

The endpoints need no token, by design of Ray and of MLflow: they only report that all is well.
"""

from __future__ import annotations

import os
import sys
from urllib.error import URLError
from urllib.request import urlopen

TIMEOUT = 5


def urls(role: str) -> list[str]:
    """The URLs that must respond with 200."""
    here = os.environ.get("FLEXKD_HEALTH_HOST", "127.0.0.1")
    dashboard = os.environ.get("RAY_DASHBOARD_PORT", "8265")
    agent = os.environ.get("RAY_AGENT_PORT", "52365")
    mlflow = os.environ.get("MLFLOW_PORT", "5000")
    raylet = f"http://{here}:{agent}/api/local_raylet_healthz"
    return {
        "head": [f"http://{here}:{dashboard}/api/gcs_healthz", raylet],
        "worker": [raylet],
        "mlflow": [f"http://{here}:{mlflow}/health"],
    }.get(role, [])


def main(arguments: list[str]) -> int:
    """Check all URLs; prints the first that fails."""
    found = urls(arguments[0]) if len(arguments) == 1 else []
    if not found:
        print("usage: flexkd-health head|worker|mlflow", file=sys.stderr)
        return 2
    for url in found:
        try:
            with urlopen(url, timeout=TIMEOUT):
                pass
        except (URLError, OSError) as error:
            print(f"flexkd-health: {url}: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
