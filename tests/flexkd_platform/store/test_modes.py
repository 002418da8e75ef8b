"""Files in a shared folder can be read by others as far as the umask allows it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from flexkd_platform.plan import Step
from flexkd_platform.results import JobFolder
from flexkd_platform.store import open_store

NOBODY = 65534


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(folder: Path, step: Step) -> None:
    """Artifacts, a part, and the files of a job."""
    store = open_store(str(folder))
    tensors = {"x": np.zeros(3)}
    save_file(tensors, folder / "part.safetensors")
    store.put_part_file(step, "chunk", folder / "part.safetensors")
    (folder / "part.safetensors").unlink()
    with store.publish(step) as draft:
        (draft.folder / "model").mkdir()
        save_file(tensors, draft.folder / "model" / "model.safetensors")
        (draft.folder / "text.json").write_text("{}")
        draft.parts = ["chunk"]
    store.write_part(step, "another", b"x")
    job = JobFolder(store, "job-1")
    with job.locked(print):
        job.write("spec.yaml", "name: a")
        job.record("started")


def test_every_file_and_folder_follows_the_umask(tmp_path: Path, step: Step, umask: int) -> None:
    folder = tmp_path / "storage"
    folder.mkdir()
    fill(folder, step)
    found = list(folder.rglob("*"))
    assert len([path for path in found if path.suffix == ".safetensors"]) == 1
    for path in found:
        wanted = (0o777 if path.is_dir() else 0o666) & ~umask
        assert path.stat().st_mode & 0o777 == wanted, path


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_second_person_reads_every_file(step: Step, request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    request.addfinalizer(lambda: shutil.rmtree(folder))
    folder.chmod(0o755)
    before = os.umask(0o022)
    try:
        fill(folder, step)
    finally:
        os.umask(before)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            store = open_store(str(folder))
            for path in store.folder(step).rglob("*"):
                if path.is_file():
                    path.read_bytes()
            events = JobFolder(store, "job-1").ledger()
            status = 0 if len(events) == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
