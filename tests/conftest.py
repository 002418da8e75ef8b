"""What all tests share: one local Ray cluster, started for the first test that asks for it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """A Ray of three CPUs on this machine, stopped at the end; the address of its dashboard."""
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    context = ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=True,
        dashboard_host="127.0.0.1",
        log_to_driver=False,
        object_store_memory=200 * 1024**2,
    )
    yield f"http://{context.dashboard_url}"
    ray.shutdown()
