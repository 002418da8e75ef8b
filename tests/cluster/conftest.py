"""A Ray cluster on hosts of its own, for the tests of one file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .services import MakeHost, ObjectStorage, RayHosts, start_ray


@pytest.fixture(scope="module")
def ray_hosts(
    make_host: MakeHost,
    s3: ObjectStorage,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[RayHosts]:
    """A Ray cluster of a head and two workers that know the credentials of `s3`.

    With a token: `@pytest.mark.parametrize("ray_hosts", ["token"], indirect=True)`. One cluster
    lives at a time: where it is not told which, Ray takes one among all processes of the machine.
    """
    with_token = getattr(request, "param", "open") == "token"
    token_file = tmp_path_factory.mktemp("ray") / "auth_token" if with_token else None
    cluster = start_ray(make_host, s3.env, 2, token_file)
    yield cluster
    for host in (*cluster.workers, cluster.head):
        host.stop()
