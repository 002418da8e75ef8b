"""Every backend that keeps the store's contract."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import fsspec
import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import Store, open_store, transfer

from ..plain_steps import plain_step

MakeStore = Callable[[], Store]


BUCKET = "team"
S3_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "flexkd-key",
    "AWS_SECRET_ACCESS_KEY": "flexkd-hidden",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """moto's S3 server as a process of its own, with an empty bucket; its host and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    argv = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1"]
    with log.open("wb") as output:
        process = subprocess.Popen([*argv, "-p", str(port)], stdout=output, stderr=output)
    try:
        late = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < late, log.read_text()
                time.sleep(0.1)
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id=S3_ENVIRONMENT["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=S3_ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket=BUCKET)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3_uri(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in the bucket, with the credentials for it in the environment."""
    for name, value in S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    query = f"endpoint_override={s3_server}&scheme=http&region=us-east-1"
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/präfix?{query}"


@pytest.fixture(params=["disk", "memory", "s3"])
def make_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeStore]:
    """Opens the one empty storage of a test, as often as it is called: one call, one process.

    The memory is fsspec's: like S3 it has no rename that the store could use.
    """
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "downloads"))
    monkeypatch.setattr(transfer, "IN_FLIGHT", 2)  # to be waited for with small files
    if request.param == "disk":
        yield lambda: open_store(str(tmp_path / "störage"))
        return
    if request.param == "s3":
        uri = request.getfixturevalue("s3_uri")
        yield lambda: open_store(uri)
        return
    memory = fsspec.filesystem("memory")
    root = f"bucket-{uuid.uuid4().hex}/präfix"
    handler = fs.PyFileSystem(fs.FSSpecHandler(memory))
    yield lambda: Store(handler, root, f"memory://{root}")
    memory.store.clear()  # fsspec's memory outlives the test
    memory.pseudo_dirs[:] = [""]


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    """An empty store."""
    return make_store()


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that is not on this disk."""
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "downloads"))
    root = f"bucket-{uuid.uuid4().hex}"
    handler = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    return Store(handler, root, f"memory://{root}")


@pytest.fixture
def step() -> Step:
    """A step that needs another one."""
    below = plain_step("teacher", {"seed": 1})
    return plain_step("score", {"chunk": 4, "name": "größe"}, {"teacher": below})
