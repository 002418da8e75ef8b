"""Hosts of a test's own, and the services of a team on them; one of each for all tests.

Tests that use any of these carry the marker `hosts`, and skip where hosts cannot be made.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .network import Network, missing
from .services import (
    Database,
    MakeHost,
    ObjectStorage,
    RayHosts,
    TrackingServer,
    postgres_missing,
    start_mlflow,
    start_postgres,
    start_ray,
    start_s3,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need hosts, before `-m` looks at the marks."""
    for item in items:
        if "network" in getattr(item, "fixturenames", ()):
            item.add_marker("hosts")


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


@pytest.fixture(scope="module")
def ray_hosts(
    make_host: MakeHost,
    s3: ObjectStorage,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[RayHosts]:
    """A Ray cluster of a head and two workers that know the credentials of `s3`.

    With a token: `@pytest.mark.parametrize("ray_hosts", ["token"], indirect=True)`. One cluster
    lives at a time, and none when other tests run: Ray looks for one among all processes.
    """
    with_token = getattr(request, "param", "open") == "token"
    token_file = tmp_path_factory.mktemp("ray") / "auth_token" if with_token else None
    cluster = start_ray(make_host, s3.env, 2, token_file)
    yield cluster
    for host in (*cluster.workers, cluster.head):
        host.stop()
