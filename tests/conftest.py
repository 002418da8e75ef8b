"""What all tests share, each started for the first test that asks for it: one local Ray cluster;
hosts of their own, and the services of a team on them.

Tests that use hosts carry the marker `hosts`, and skip where hosts cannot be made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

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
from .forks import ray_worker_forks

# Several processes share the cores; a training says itself how many threads it takes. Threads that
# wait for one another sleep: spinning takes the core of another process, or of the one waited for.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What checks of models remember of one another is neither the user's nor that of an earlier run.
_CACHE = tempfile.TemporaryDirectory(prefix="flexkd-cache-")
os.environ["FLEXKD_CACHE"] = _CACHE.name

# No test depends on time, and every run tries the same examples.
settings.register_profile("flexkd", deadline=None, derandomize=True)
settings.load_profile("flexkd")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--write-golden`: write files of expected values anew, to be read before they are kept."""
    parser.addoption("--write-golden", action="store_true", help="write golden files anew")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that need hosts, before `-m` looks at the marks; begin with what takes longest."""
    for item in items:
        if "network" in getattr(item, "fixturenames", ()):
            item.add_marker("hosts")
    items.sort(key=lambda item: place_of(item.path))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `-n`: hosts in one process, Ray in another, everything else a file at a time.

    Each of the two has one cluster, and two clusters are as many as two cores take. Groups by
    `xdist_group` do nothing with pytest 9.2, whose node ids cannot be changed.
    """
    from xdist.scheduler import LoadFileScheduling

    # The order of the items, and not the groups with most tests first: those with few take longest.
    config.option.loadscopereorder = False

    class Groups(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(config.rootpath / nodeid.split("::", 1)[0])

    return Groups(config, log)


FIRST = ("hosts", "ray", "slow")
"""Groups and marks of the tests that take longest, in the order in which they begin."""


@cache
def place_of(file: Path) -> int:
    """When the tests of a file begin: a process that ends long after the others would be alone."""
    group = group_of(file)
    if group not in FIRST and "mark.slow" in file.read_text(encoding="utf-8"):
        group = "slow"
    return (*FIRST, group).index(group)


@cache
def group_of(file: Path) -> str:
    """The tests that run in one process, one after the other: by what a file starts."""
    text = file.read_text(encoding="utf-8")
    if file.parent == Path(__file__).parent / "cluster" or "mark.hosts" in text:
        return "hosts"
    return "ray" if "mark.ray" in text or "ray_cluster" in text else str(file)


@pytest.fixture(scope="session")
def worker_forks() -> Iterator[dict[str, str]]:
    """The environment of drivers on this machine whose workers are forks; see tests/forks."""
    file = Path(ray_worker_forks.__file__)
    with tempfile.TemporaryDirectory(prefix="forks-") as folder:
        path = f"{folder}/socket"
        server = subprocess.Popen([sys.executable, str(file), "serve", path])
        yield ray_worker_forks.environment(path, str(file.parent))
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def ray_cluster(worker_forks: dict[str, str]) -> Iterator[str]:
    """A Ray of three CPUs on this machine, stopped at the end; the address of its dashboard.

    It has a temporary directory of its own with the note that `ray start` leaves in one: Ray Jobs
    looks there for the cluster that a driver is to join. Without the note, Ray takes any cluster
    among the processes of the machine, such as that of the hosts of other tests.
    """
    ray = pytest.importorskip("ray")
    # Sockets lie in it, whose paths may have 107 characters: pytest's own folders are too deep.
    temporary = tempfile.mkdtemp(prefix="flexkd-ray-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", os.environ.get("RAY_AUTH_MODE", "disabled"))
        for name, value in worker_forks.items():
            patch.setenv(name, value, prepend=os.pathsep if name == "PYTHONPATH" else None)
        patch.syspath_prepend(worker_forks["PYTHONPATH"])
        context = ray.init(
            address="local",
            num_cpus=3,
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            log_to_driver=False,
            object_store_memory=200 * 1024**2,
            _temp_dir=temporary,
        )
        ray._private.utils.write_ray_address(context.address_info["gcs_address"], temporary)
        yield f"http://{context.dashboard_url}"
        ray.shutdown()
    shutil.rmtree(temporary, ignore_errors=True)


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
