"""Every backend that keeps the store's contract."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import Store, open_store, transfer

from ..plain_steps import plain_step

MakeStore = Callable[[], Store]


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
def disk(tmp_path: Path) -> Store:
    """A store on this disk."""
    return open_store(str(tmp_path / "storage"))


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
