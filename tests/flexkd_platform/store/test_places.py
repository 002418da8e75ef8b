"""What only one backend can show: downloads of a remote one, processes on a disk, and URIs."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import (
    DamagedArtifactError,
    FileEntry,
    Store,
    StoreError,
    open_store,
    transfer,
)
from flexkd_platform.store import garbage_collection as leftovers
from flexkd_platform.store.ledger import Ledger
from flexkd_platform.store.partial_artifact import DiskParts

from ..plain_steps import plain_step


def publish(store: Store, step: Step, text: str = "content") -> None:
    with store.publish(step) as draft:
        for name in ("a", "b"):
            (draft.folder / name).write_text(text)


# --- remote ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"CONTENT", b"cont", b"content and more"])
def test_a_remote_file_that_is_not_what_its_manifest_says(
    remote: Store, step: Step, content: bytes
) -> None:
    publish(remote, step)
    place = f"steps/score/{step.hash}/{remote.manifest(step).place}"
    remote.write_file(f"{place}/b", content)
    for _ in range(2):  # a first failure leaves nothing that a second could take for whole
        with pytest.raises(DamagedArtifactError, match="b has"):
            remote.folder(step)
    remote.write_file(f"{place}/b", b"content")
    assert (remote.folder(step) / "b").read_bytes() == b"content"


def test_a_download_is_kept(remote: Store, step: Step) -> None:
    publish(remote, step)
    folder = remote.folder(step)
    remote.filesystem.delete_dir(f"{remote.root}/steps")
    assert remote.folder(step) == folder
    assert (folder / "a").read_text() == "content"


def test_a_download_that_lost_its_manifest_is_fetched_again(remote: Store, step: Step) -> None:
    publish(remote, step)
    folder = remote.folder(step)
    (folder / "manifest.json").unlink()
    (folder / "a").write_text("changed")
    assert remote.folder(step) == folder
    assert (folder / "a").read_text() == "content"


def test_two_storages_have_two_downloads(remote: Store, step: Step) -> None:
    other = Store(remote.filesystem, f"{remote.root}-other", f"{remote.uri}-other")
    publish(remote, step, "one")
    publish(other, step, "other")
    assert (remote.folder(step) / "a").read_text() == "one"
    assert (other.folder(step) / "a").read_text() == "other"


def test_a_download_leaves_only_the_artifact(remote: Store, step: Step) -> None:
    publish(remote, step)
    folder = remote.folder(step)
    assert [p.name for p in folder.parent.iterdir()] == [step.hash]


# --- one disk, several processes ---------------------------------------------------------------


def _publish_when_all_are_ready(root: str, barrier: object, name: str) -> None:
    store, step = open_store(root), plain_step("score", {"chunk": 4})
    with store.publish(step) as draft:
        for place in range(5):
            (draft.folder / f"{name}-{place}").write_text(name * 100)
        draft.summary["by"] = name
        barrier.wait(60)  # type: ignore[attr-defined]


def test_processes_that_publish_at_once_leave_one_whole_artifact(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    workers = [
        context.Process(target=_publish_when_all_are_ready, args=(str(tmp_path), barrier, name))
        for name in ("x", "y")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    store, step = open_store(str(tmp_path)), plain_step("score", {"chunk": 4})
    manifest = store.manifest(step)
    winner = manifest.summary["by"]
    assert winner in ("x", "y")
    assert sorted(manifest.files) == [f"{winner}-{place}" for place in range(5)]
    found = sorted(p.name for p in store.folder(step).iterdir())
    assert found == sorted([*manifest.files, "manifest.json"])
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_lost_race_keeps_the_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process publishes after the last look and before the rename."""
    store, step = open_store(str(tmp_path)), plain_step("score", {"chunk": 4})
    publish(store, step, "winner")
    monkeypatch.setattr(store, "has", lambda step: False)
    publish(store, step, "loser")
    assert (store.folder(step) / "a").read_text() == "winner"
    assert list((tmp_path / "staging").iterdir()) == []


def test_parts_that_the_winner_drops_while_they_are_taken_lose_quietly(
    tmp_path: Path, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, winner = open_store(str(tmp_path)), open_store(str(tmp_path))
    copy = DiskParts.copy

    def copy_late(parts: DiskParts, name: str, target: str) -> FileEntry:
        monkeypatch.undo()
        with winner.publish(step) as first:
            first.parts = ["chunk-0"]
        return copy(parts, name, target)

    store.write_part(step, "chunk-0", b"numbers")
    monkeypatch.setattr(DiskParts, "copy", copy_late)
    with store.publish(step) as late:
        late.parts = ["chunk-0"]
    assert (store.folder(step) / "chunk-0").read_bytes() == b"numbers"


@pytest.mark.parametrize("planted", ["mode", "link"])
def test_downloads_are_kept_where_nobody_else_can_have_put_them(
    remote: Store, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    monkeypatch.delenv("FLEXKD_CACHE")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with remote.publish(step) as draft:
        (draft.folder / "a").write_text("a")
    folder = tmp_path / f"flexkd-cache-{os.getuid()}"
    assert (remote.folder(step) / "a").read_text() == "a"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    if planted == "mode":
        folder.chmod(0o777)
    else:
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"may contain other users' files.*FLEXKD_CACHE"):
        remote.folder(step)


def test_a_disk_that_does_not_rename_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, step = open_store(str(tmp_path)), plain_step("score", {"chunk": 4})

    def refuse(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="No space left"):
        publish(store, step)
    assert not store.has(step)


def test_a_file_that_is_being_written_is_no_part(tmp_path: Path, step: Step) -> None:
    store = open_store(str(tmp_path))
    store.write_part(step, "chunk-0", b"0")
    folder = tmp_path / "parts" / f"score-{step.hash}"
    (folder / "chunk-1.0123abcd.tmp").write_bytes(b"half")
    assert store.parts(step) == {"chunk-0"}


def test_a_store_that_moved_is_the_same_store(tmp_path: Path, step: Step) -> None:
    publish(open_store(str(tmp_path / "here")), step)
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = open_store(str(tmp_path / "there"))
    assert (moved.folder(step) / "a").read_text() == "content"


# --- leftovers ---------------------------------------------------------------------------------


class Interrupted:
    """A filesystem on which Ctrl-C is pressed while objects of some name are put."""

    def __init__(self, real: fs.FileSystem, name: str) -> None:
        self._real, self._name = real, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def open_output_stream(self, path: str) -> Any:
        stream = self._real.open_output_stream(path)
        if path.endswith(f"/{self._name}"):
            os.kill(os.getpid(), signal.SIGINT)
        return stream


def interrupted(uri: str, name: str) -> Store:
    store = open_store(uri)
    return Store(Interrupted(store.filesystem, name), store.root, store.uri)


def test_an_interruption_does_not_leave_half_a_file(s3_uri: str) -> None:
    open_store(s3_uri).write_file("jobs/a/results.json", b"before")
    with pytest.raises(KeyboardInterrupt):
        interrupted(s3_uri, "results.json").write_file("jobs/a/results.json", b"after")
    assert open_store(s3_uri).read_file("jobs/a/results.json") == b"after"
    ledger = Ledger(interrupted(s3_uri, "ledger.jsonl"), "jobs/a/ledger.jsonl")
    ledger.append("first")
    ledger.append("second")
    with pytest.raises(KeyboardInterrupt):
        ledger.close()
    assert open_store(s3_uri).read_file("jobs/a/ledger.jsonl") == b"first\nsecond\n"


def test_what_is_interrupted_before_it_begins_never_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the moment in which a thread has been started and is not yet known."""
    begun, start = threading.Event(), threading.Thread.start

    def interrupted_start(thread: threading.Thread) -> None:
        start(thread)
        begun.wait(0.5)
        raise KeyboardInterrupt

    class Telling(Interrupted):
        def open_output_stream(self, path: str) -> Any:
            begun.set()
            return self._real.open_output_stream(path)

    files, path = Telling(fs.LocalFileSystem(), ""), str(tmp_path / "ledger")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted_start)
        with pytest.raises(KeyboardInterrupt):
            transfer.put(files, path, b"line")
    assert not begun.is_set()


@pytest.mark.parametrize("size", [5, 100_000])
def test_an_interruption_does_not_leave_half_a_part(s3_uri: str, step: Step, size: int) -> None:
    content = b"x" * size
    with pytest.raises(KeyboardInterrupt):
        interrupted(s3_uri, "part").write_part(step, "part", content)
    assert open_store(s3_uri).parts(step) == {"part"}
    assert open_store(s3_uri).read_part(step, "part") == content


@pytest.mark.parametrize(("at", "there"), [("b", False), ("manifest.json", True)])
def test_an_interruption_leaves_an_artifact_or_none(
    s3_uri: str, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, there: bool
) -> None:
    monkeypatch.setenv("FLEXKD_CACHE", str(tmp_path / "downloads"))
    with pytest.raises(KeyboardInterrupt):
        publish(interrupted(s3_uri, at), step)
    store = open_store(s3_uri)
    assert store.has(step) is there
    if not there:
        publish(store, step)
    assert (store.folder(step) / "b").read_text() == "content"


def test_leftovers_on_a_disk_are_swept_when_they_are_old(tmp_path: Path, step: Step) -> None:
    store = open_store(str(tmp_path))
    old, young, inside = (tmp_path / "staging" / name for name in ("old", "young", "inside"))
    for folder in (old, young, inside):
        folder.mkdir(parents=True)
        (folder / "half").write_text("half")
    past = time.time() - leftovers.AGE - 60
    for path in (old / "half", old, inside):
        os.utime(path, (past, past))
    publish(store, step)
    assert {path.name for path in (tmp_path / "staging").iterdir()} == {"young", "inside"}


def test_leftovers_of_an_artifact_on_an_object_store_are_swept_when_they_are_old(
    s3_uri: str, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_uri)
    place = f"steps/score/{step.hash}"
    store.write_file(f"{place}/files-of-somebody-killed/a", b"half")
    publish(store, step)
    kept = store.manifest(step).place
    assert set(store.list_folder(place)) == {"files-of-somebody-killed", kept, "manifest.json"}
    monkeypatch.setattr(leftovers, "AGE", -60)
    publish(store, step)
    assert set(store.list_folder(place)) == {kept, "manifest.json"}
    assert (store.folder(step) / "a").read_text() == "content"


def test_an_upload_that_fails_leaves_nothing(remote: Store, step: Step) -> None:
    def put(path: str) -> object:
        if path.endswith("manifest.json"):  # after the files
            raise OSError("the network is gone")
        return remote.filesystem.open_output_stream(path)

    spied = Spied(remote.filesystem, open_output_stream=put)
    with pytest.raises(OSError, match="the network is gone"):
        publish(Store(spied, remote.root, remote.uri), step)
    assert remote.list_folder(f"steps/score/{step.hash}") == []


def test_large_parts_are_copied_by_the_storage_itself(
    s3_uri: str, step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(s3_uri)
    (tmp_path / "part").write_bytes(b"x" * 100_000)
    store.put_part_file(step, "part", tmp_path / "part")
    read: list[str] = []
    reader = store.filesystem.open_input_stream

    def open_input_stream(path: str) -> object:
        read.append(path)
        return reader(path)

    spied = Spied(store.filesystem, open_input_stream=open_input_stream)
    with Store(spied, store.root, store.uri).publish(step) as draft:
        draft.parts = ["part"]
    assert [path.rpartition("/")[2] for path in read if "/parts/" in path] == ["part"]
    assert (store.folder(step) / "part").read_bytes() == b"x" * 100_000


class Spied:
    """A filesystem with some of its methods replaced."""

    def __init__(self, filesystem: fs.FileSystem, **replaced: Callable[[str], object]) -> None:
        self._filesystem = filesystem
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> object:
        return getattr(self._filesystem, name)
