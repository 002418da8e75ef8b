"""What all tests share, each started for the first test that asks for it: one local Ray cluster;
hosts of their own, and the services of a team on them.

Tests that use hosts carry the marker `hosts`, and skip where hosts cannot be made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from .cluster.network import Network, missing
from .cluster.services import (
    Database,
    MakeHost,
    ObjectStorage,
    TrackingServer,
    postgres_missing,
    start_mlflow,
    start_postgres,
    start_s3,
)

# Several processes share the cores; a training says itself how many threads it takes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test depends on time, and every run tries the same examples.
settings.register_profile("flexkd", deadline=None, derandomize=True)
settings.load_profile("flexkd")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-golden`: write files of expected values anew, to be read before they are kept."""
    parser.addoption("--write-golden", action="store_true", help="write golden files anew")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test that needs hosts, before `-m` looks at the marks, and group it for xdist."""
    if "network" in getattr(item, "fixturenames", ()):
        item.add_marker("hosts")
    item.add_marker(pytest.mark.xdist_group(group_of(item)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the groups first that take longest.

    With `-n`, what starts hosts runs in one process and what starts Ray in another: each kind has
    one cluster, and two clusters are as many as two cores take. Tests of one file stay together,
    and so share the fixtures of the file.
    """
    items.sort(key=lambda item: (*FIRST, group_of(item)).index(group_of(item)))


FIRST = ("hosts", "ray")
"""The groups of tests that take longest, in the order in which they begin."""


def group_of(item: pytest.Item) -> str:
    """The tests that must run in one process, one after the other."""
    if item.get_closest_marker("hosts"):
        return "hosts"
    starts_ray = "ray_cluster" in getattr(item, "fixturenames", ())
    if item.get_closest_marker("ray") or starts_ray:
        return "ray"
    return item.path.relative_to(Path(__file__).parent).as_posix()


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


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network without hosts; all that are made go with it."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    try:
        network = Network(tmp_path_factory.mktemp("hosts"))
    except PermissionError as error:
        pytest.skip(f"this machine does not let root make networks: {error}")
    yield network
    network.close()


@pytest.fixture(scope="session")
def make_host(network: Network) -> MakeHost:
    """`make_host(name, checkout=False)`: a new host, without this repository unless asked."""
    return network.host


@pytest.fixture(scope="session")
def s3(make_host: MakeHost) -> ObjectStorage:
    """An S3 server with a bucket. A test takes a prefix of its own: `s3.uri("my-test")`."""
    return start_s3(make_host("s3"))


@pytest.fixture(scope="session")
def postgres(make_host: MakeHost) -> Database:
    """A PostgreSQL server. A test takes a database of its own: `postgres.create("my_test")`."""
    reason = postgres_missing()
    if reason:
        pytest.skip(reason)
    return start_postgres(make_host("postgres"))


@pytest.fixture(scope="session")
def mlflow_server(make_host: MakeHost, postgres: Database, s3: ObjectStorage) -> TrackingServer:
    """An MLflow server on PostgreSQL that hands out artifacts from S3."""
    artifacts = f"s3://{s3.bucket}/mlflow"
    return start_mlflow(make_host("mlflow"), postgres.create("mlflow"), artifacts, s3.env)
