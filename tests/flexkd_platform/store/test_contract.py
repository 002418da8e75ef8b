"""What every backend of the store keeps: whole artifacts or none, and exactly the bytes put in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import FileEntry, Manifest, Store, StoreError

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
    assert everything(store) == [
        f"{place}/empty",
        f"{place}/manifest.json",
        f"{place}/model/größe.txt",
    ]


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


def test_an_artifact_without_a_manifest_is_not_there(store: Store, step: Step) -> None:
    publish(store, step)
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
    other = Step("score", {"chunk": 5})
    publish(store, step)
    store.write_part(step, "a", b"1")
    assert not store.has(other)
    assert not store.has(step.needs["teacher"])
    assert store.parts(other) == set()


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


# --- files -------------------------------------------------------------------------------------


def test_files_are_replaced_whole(store: Store) -> None:
    store.write_file("jobs/größe-1/plan.json", b"a longer content")
    store.write_file("jobs/größe-1/plan.json", b"short")
    assert store.read_file("jobs/größe-1/plan.json") == b"short"
    assert store.list_folder("jobs") == ["größe-1"]
    assert store.list_folder("jobs/größe-1") == ["plan.json"]
    with pytest.raises(FileNotFoundError):
        store.read_file("jobs/none")


def test_lines_are_appended(make_store: MakeStore) -> None:
    make_store().append_line("jobs/a/ledger.jsonl", '{"note": "größe"}')
    make_store().append_line("jobs/a/ledger.jsonl", "second")
    content = make_store().read_file("jobs/a/ledger.jsonl").decode()
    assert content == '{"note": "größe"}\nsecond\n'


def test_a_storage_that_can_be_written_is_left_as_it_was(store: Store) -> None:
    store.check_writable()
    assert everything(store) == []


def test_a_storage_that_cannot_be_written(make_store: MakeStore) -> None:
    store = make_store()
    store.write_file("a file", b"")
    blocked = Store(store.filesystem, f"{store.root}/a file", "the uri")
    with pytest.raises(StoreError, match=r"^the storage the uri cannot be written: "):
        blocked.check_writable()
