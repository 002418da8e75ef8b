"""A Ray cluster on hosts, one for each mode, and a node of the open one that has our code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .network import Host
from .services import MakeHost, ObjectStorage, RayHosts, start_ray


@pytest.fixture(scope="session", params=["open"])
def ray_hosts(
    make_host: MakeHost,
    s3: ObjectStorage,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[RayHosts]:
    """A Ray cluster of a head and two workers that know the credentials of `s3`.

    With a token: `@pytest.mark.parametrize("ray_hosts", ["token"], indirect=True)`. pytest runs the
    tests of a mode together, and one cluster lives at a time: where Ray is not told which to use,
    it takes one among all processes of the machine. A test that kills a node replaces it.
    """
    with_token = request.param == "token"
    token_file = tmp_path_factory.mktemp("ray") / "auth_token" if with_token else None
    cluster = start_ray(make_host, s3.env, 2, token_file)
    yield cluster
    for host in (*cluster.workers, cluster.head):
        host.stop()


@pytest.fixture(scope="session")
def driver(make_host: MakeHost, ray_hosts: RayHosts) -> Iterator[Host]:
    """A node of the open cluster with our code and no CPU, for `flexkd run --address`."""
    host = make_host("driver", checkout=True)
    before = ray_hosts.alive()
    ray_hosts.join(host, cpus=0)
    ray_hosts.wait_for_nodes(before + 1)
    yield host
    ray_hosts.kill(host)
