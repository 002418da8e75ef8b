"""What every backend of the store keeps: whole artifacts or none, and exactly the bytes put in."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import FileEntry, Manifest, Store, StoreError, describe_file
from flexkd_platform.store.partial_artifact import INLINE
from flexkd_platform.store.transfer import PIECE

from ..plain_steps import plain_step

MakeStore = Callable[[], Store]


def publish(store: Store, step: Step, text: str = "content") -> None:
    with store.publish(step) as draft:
        (draft.folder / "model").mkdir()
        (draft.folder / "model" / "größe.txt").write_text(text, encoding="utf-8")
        (draft.folder / "empty").write_bytes(b"")
        draft.summary["metrics"] = {"test/accuracy": 0.5}


def everything(store: Store) -> list[str]:
    """All files of the storage, by their path below it."""
    selector = fs.FileSelector(store.root, allow_not_found=True, recursive=True)
    found = store.filesystem.get_file_info(selector)
    return sorted(
        i.path.strip("/").removeprefix(store.root.strip("/") + "/") for i in found if i.is_file
    )


# --- artifacts ---------------------------------------------------------------------------------


def test_nothing_is_there_at_first(store: Store, step: Step) -> None:
    assert not store.has(step)
    assert store.parts(step) == set()
    assert store.list_folder("jobs") == []
    for ask in (store.manifest, store.folder):
        with pytest.raises(StoreError, match=f"no score {step.hash[:12]} in .*; run the job"):
            ask(step)


def test_what_is_published_comes_back(make_store: MakeStore, step: Step, tmp_path: Path) -> None:
    publish(make_store(), step)
    store = make_store()
    assert store.has(step)
    folder = store.folder(step)
    assert (folder / "model" / "größe.txt").read_text(encoding="utf-8") == "content"
    assert (folder / "empty").read_bytes() == b""
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == [
        "empty",
        "größe.txt",
        "manifest.json",
    ]
    assert store.folder(step) == folder
    assert store.folder_at("score", step.hash) == folder


def test_the_manifest_says_what_it_is_and_which_bytes_it_holds(store: Store, step: Step) -> None:
    publish(store, step)
    manifest = store.manifest(step)
    assert (manifest.kind, manifest.hash) == ("score", step.hash)
    assert manifest.identity == {"chunk": 4, "name": "größe"}
    assert manifest.needs == {"teacher": step.needs["teacher"].hash}
    assert manifest.summary == {"metrics": {"test/accuracy": 0.5}}
    assert manifest.seconds >= 0
    assert manifest.files == {
        "empty": FileEntry(0, hashlib.sha256(b"").hexdigest()),
        "model/größe.txt": FileEntry(7, hashlib.sha256(b"content").hexdigest()),
    }
    assert store.manifest_at("score", step.hash) == manifest
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert json.loads(manifest.to_bytes())["hash"] == step.hash


def test_the_place_is_kind_and_hash(store: Store, step: Step) -> None:
    publish(store, step)
    place = f"steps/score/{step.hash}"
    folder = store.manifest(step).place
    assert (folder == "") is store.is_local
    within = f"{place}/{folder}" if folder else place
    assert everything(store) == sorted(
        [f"{place}/manifest.json", f"{within}/empty", f"{within}/model/größe.txt"]
    )


def test_an_exception_in_the_body_leaves_nothing(store: Store, step: Step) -> None:
    places = []
    with pytest.raises(ZeroDivisionError), store.publish(step) as draft:  # noqa: PT012
        places.append(draft.folder)
        (draft.folder / "half").write_text("written")
        raise ZeroDivisionError
    assert not store.has(step)
    assert everything(store) == []
    assert not places[0].exists()
    publish(store, step)
    assert store.has(step)


def test_a_second_publisher_loses_quietly(make_store: MakeStore, step: Step) -> None:
    store = make_store()
    with make_store().publish(step) as late:
        (late.folder / "late").write_text("late")
        publish(store, step, "first")
        before = store.manifest(step)
    assert make_store().manifest(step) == before
    publish(make_store(), step, "third")
    assert store.manifest(step) == before
    assert (store.folder(step) / "model" / "größe.txt").read_text() == "first"
    assert len(everything(store)) == 3


def test_an_artifact_without_a_manifest_is_not_there(make_store: MakeStore, step: Step) -> None:
    publish(make_store(), step)
    store = make_store()
    store.filesystem.delete_file(f"{store.root}/steps/score/{step.hash}/manifest.json")
    assert not store.has(step)
    with pytest.raises(StoreError, match="no score"):
        store.manifest(step)


def test_what_is_left_of_an_artifact_does_not_stop_the_next(store: Store, step: Step) -> None:
    store.write_file(f"steps/score/{step.hash}/model/größe.txt", b"left over")
    assert not store.has(step)
    publish(store, step)
    assert store.has(step)
    assert (store.folder(step) / "model" / "größe.txt").read_text() == "content"


def test_an_artifact_without_files(store: Store, step: Step) -> None:
    with store.publish(step) as draft:
        draft.summary["units"] = 3
    assert store.manifest(step).files == {}
    assert store.manifest(step).summary == {"units": 3}
    assert [p.name for p in store.folder(step).iterdir()] == ["manifest.json"]


def test_steps_do_not_see_each_other(store: Store, step: Step) -> None:
    other = plain_step("score", {"chunk": 5})
    publish(store, step)
    store.write_part(step, "a", b"1")
    assert not store.has(other)
    assert not store.has(step.needs["teacher"])
    assert store.parts(other) == set()


def test_one_file_is_there_without_the_others(
    make_store: MakeStore, step: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(make_store(), step)
    store = make_store()
    file = store.file(step, "model/größe.txt")
    assert file.read_text(encoding="utf-8") == "content"
    assert store.file_at("score", step.hash, "model/größe.txt") == file
    fetched = {path.name for path in (tmp_path / "downloads").rglob("*") if path.is_file()}
    assert fetched == (set() if store.is_local else {"größe.txt"})
    with pytest.raises(StoreError, match=r"has no file nothing; it has empty, model/größe.txt$"):
        store.file(step, "nothing")
    folder = store.folder(step)
    assert store.file(step, "empty") == folder / "empty"
    with pytest.raises(StoreError, match="no teacher"):
        store.file(step.needs["teacher"], "empty")


def test_the_digest_of_an_artifact_is_that_of_its_files(store: Store, step: Step) -> None:
    publish(store, step)
    folder = store.folder(step)
    lines = subprocess.run(
        "sha256sum $(find . -type f ! -name manifest.json | LC_ALL=C sort | cut -c 3-)",
        shell=True,
        cwd=folder,
        capture_output=True,
        check=True,
    ).stdout
    assert store.manifest(step).digest == hashlib.sha256(lines).hexdigest()
    other = plain_step("score", {"chunk": 5})
    publish(store, other, "other content")
    assert store.manifest(other).digest != store.manifest(step).digest


def test_two_that_publish_at_the_same_instant_leave_one_whole_artifact(
    make_store: MakeStore, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each looks before the other is done; whoever stays, its files are those of its manifest."""
    first, second = make_store(), make_store()
    monkeypatch.setattr(second, "has", lambda step: False)
    publish(first, step, "of the first, which is longer")
    publish(second, step, "of the second")
    store = make_store()
    text = (store.folder(step) / "model" / "größe.txt").read_text(encoding="utf-8")
    assert text == ("of the first, which is longer" if store.is_local else "of the second")


# --- parts -------------------------------------------------------------------------------------


def test_parts_are_written_listed_read_and_dropped(make_store: MakeStore, step: Step) -> None:
    store = make_store()
    store.write_part(step, "chunk-1", b"one")
    store.write_part(step, "chunk-0", b"zero")
    store.write_part(step, "chunk-1", b"one, again")
    assert make_store().parts(step) == {"chunk-0", "chunk-1"}
    assert make_store().read_part(step, "chunk-1") == b"one, again"
    assert not store.has(step)
    store.drop_parts(step)
    assert make_store().parts(step) == set()
    store.drop_parts(step)


def test_one_part_is_dropped_and_the_others_stay(store: Store, step: Step) -> None:
    store.write_part(step, "chunk-0", b"zero")
    store.write_part(step, "chunk-1", b"one")
    store.drop_part(step, "chunk-0")
    store.drop_part(step, "chunk-0")
    assert store.parts(step) == {"chunk-1"}


def test_parts_become_files_of_the_artifact(store: Store, step: Step) -> None:
    for name in ("chunk-0", "chunk-1", "unused"):
        store.write_part(step, name, name.encode())
    with store.publish(step) as draft:
        draft.parts = ["chunk-0", "chunk-1"]
    assert set(store.manifest(step).files) == {"chunk-0", "chunk-1"}
    assert (store.folder(step) / "chunk-1").read_bytes() == b"chunk-1"
    assert store.parts(step) == set()


def test_a_part_that_is_missing_publishes_nothing_and_keeps_the_others(
    store: Store, step: Step
) -> None:
    store.write_part(step, "chunk-0", b"0")
    with pytest.raises(FileNotFoundError), store.publish(step) as draft:
        draft.parts = ["chunk-0", "chunk-1"]
    assert not store.has(step)
    assert store.parts(step) == {"chunk-0"}


SIZES = [0, 5, INLINE, INLINE + 1, 2 * PIECE + 7]
"""Of a part: what an object store keeps in its record, and what goes in one piece or many."""


def content_of(size: int) -> bytes:
    return (b"0123456789abcde" * (size // 15 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_files_go_through_parts_as_they_are(
    make_store: MakeStore, step: Step, tmp_path: Path, size: int
) -> None:
    path, back = tmp_path / "weights", tmp_path / "back"
    path.write_bytes(content_of(size))
    entry = make_store().put_part_file(step, "weights", path)
    assert entry == describe_file(path)
    path.write_bytes(b"changed afterwards")
    assert make_store().parts(step) == {"weights"}
    assert make_store().fetch_part(step, "weights", back) == entry
    assert back.read_bytes() == content_of(size)
    assert make_store().read_part(step, "weights") == content_of(size)


@pytest.mark.parametrize("size", SIZES)
def test_the_last_content_of_a_part_is_the_one_that_stays(
    store: Store, step: Step, tmp_path: Path, size: int
) -> None:
    (tmp_path / "file").write_bytes(content_of(size))
    for order in (1, -1):
        writes = [
            lambda: store.write_part(step, "part", b"small"),
            lambda: store.put_part_file(step, "part", tmp_path / "file"),
        ][::order]
        for write in writes:
            write()
        assert store.read_part(step, "part") == (content_of(size) if order == 1 else b"small")
        with store.publish(plain_step("score", {"order": order, "size": size})):
            pass
    store.drop_part(step, "part")
    assert store.parts(step) == set()
    with pytest.raises(FileNotFoundError):
        store.read_part(step, "part")
    with pytest.raises(FileNotFoundError):
        store.fetch_part(step, "part", tmp_path / "back")


@pytest.mark.parametrize("size", SIZES)
def test_large_parts_become_files_of_the_artifact(
    make_store: MakeStore, step: Step, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "chunk"
    path.write_bytes(content_of(size))
    make_store().put_part_file(step, "chunk-0", path)
    store = make_store()
    with store.publish(step) as draft:
        (draft.folder / "a file").write_text("own")
        draft.parts = ["chunk-0"]
    assert store.manifest(step).files["chunk-0"] == describe_file(path)
    assert (make_store().folder(step) / "chunk-0").read_bytes() == content_of(size)
    assert set(store.manifest(step).files) == {"a file", "chunk-0"}
    assert store.parts(step) == set()
    assert not [name for name in everything(store) if name.startswith("parts/")]


def test_a_published_part_does_not_change_with_later_parts(store: Store, step: Step) -> None:
    store.write_part(step, "chunk-0", b"published")
    with store.publish(step) as draft:
        draft.parts = ["chunk-0"]
    store.write_part(step, "chunk-0", b"of somebody who is late")
    assert (store.folder(step) / "chunk-0").read_bytes() == b"published"


def test_who_finds_the_parts_gone_since_another_published_is_just_late(
    make_store: MakeStore, step: Step
) -> None:
    store = make_store()
    store.write_part(step, "chunk-0", b"0")
    with make_store().publish(step) as late:
        with store.publish(step) as draft:
            draft.parts = ["chunk-0"]
        late.parts = ["chunk-0"]
    assert set(store.manifest(step).files) == {"chunk-0"}


# --- files -------------------------------------------------------------------------------------


def test_files_are_replaced_whole(store: Store) -> None:
    store.write_file("jobs/größe-1/plan.json", b"a longer content")
    store.write_file("jobs/größe-1/plan.json", b"short")
    assert store.read_file("jobs/größe-1/plan.json") == b"short"
    assert store.list_folder("jobs") == ["größe-1"]
    assert store.list_folder("jobs/größe-1") == ["plan.json"]
    with pytest.raises(FileNotFoundError):
        store.read_file("jobs/none")


def test_a_file_is_dropped_once(store: Store) -> None:
    store.write_file("jobs/a/note", b"x")
    for _ in range(2):
        store.drop_file("jobs/a/note")
    with pytest.raises(FileNotFoundError):
        store.read_file("jobs/a/note")
    assert store.list_folder("jobs/a") == []


def test_a_storage_that_can_be_written_is_left_as_it_was(store: Store) -> None:
    store.check_writable()
    assert everything(store) == []


def test_a_storage_that_cannot_be_written(make_store: MakeStore) -> None:
    store = make_store()
    store.write_file("a file", b"")
    # To S3 a path is but a name: what cannot be written there is a bucket that is not there.
    flat = isinstance(store.filesystem, fs.S3FileSystem)
    root = "no-such-bucket/prefix" if flat else f"{store.root}/a file"
    blocked = Store(store.filesystem, root, "the uri")
    with pytest.raises(StoreError, match=r"^the storage the uri cannot be written: "):
        blocked.check_writable()


def test_what_is_published_is_read_once(make_store: MakeStore, step: Step) -> None:
    """It never changes; what is not published is asked for again."""
    store = make_store()
    assert not store.has(step)
    with make_store().publish(step) as draft:
        (draft.folder / "a").write_text("x")
    assert store.has(step)
    manifest = store.manifest(step)
    make_store().drop_folder(f"steps/{step.kind}/{step.hash}")
    assert store.has(step)
    assert store.manifest(step) is manifest
    assert not make_store().has(step)
