"""Damaged files: found before they are read, set aside, and never published again."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from flexkd_platform.plan import Step
from flexkd_platform.store import DamagedArtifactError, Store
from flexkd_platform.store.ledger import Ledger
from flexkd_platform.store.manifest import Manifest
from flexkd_platform.store.partial_artifact import DamagedPartError
from flexkd_platform.store.verification import Verifier, describe_file


def flip(path: Path) -> None:
    """One bit of the last byte; the size stays."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.fixture
def published(disk: Store, step: Step) -> Path:
    """The folder of a published artifact of two files."""
    with disk.publish(step) as draft:
        for name in ("a", "b"):
            (draft.folder / name).write_text(f"content of {name}")
    return disk.folder(step)


def test_a_changed_file_is_not_given_out(disk: Store, step: Step, published: Path) -> None:
    flip(published / "b")
    assert disk.file(step, "a") == published / "a", "it is whole"
    with pytest.raises(DamagedArtifactError, match="b has SHA-256"):
        disk.file(step, "b")
    with pytest.raises(DamagedArtifactError, match="b has SHA-256"):
        disk.folder(step)
    assert [reason.split()[0] for reason in disk.damage(step.kind, step.hash)] == ["b"]


def test_a_file_is_read_once_and_again_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    entry = describe_file(path)
    read: list[Path] = []

    def describe(path: Path) -> object:
        read.append(path)
        return describe_file(path)

    monkeypatch.setattr("flexkd_platform.store.verification.describe_file", describe)
    verifier = Verifier(lambda: tmp_path)
    assert [verifier.difference(path, entry) for _ in range(3)] == ["", "", ""]
    assert len(read) == 1
    times = path.stat()
    flip(path)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as a file that hides its change
    assert "SHA-256" in verifier.difference(path, entry)


def test_a_large_file_is_read_once_on_a_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the first process; another one reads it only after a change."""
    monkeypatch.setattr("flexkd_platform.store.verification.LARGE", 4)
    path = tmp_path / "file"
    path.write_text("content")
    entry = describe_file(path)
    assert Verifier(lambda: tmp_path / "node").difference(path, entry) == ""
    with monkeypatch.context() as patch:
        patch.delattr("flexkd_platform.store.verification.describe_file")
        assert Verifier(lambda: tmp_path / "node").difference(path, entry) == ""
    flip(path)
    assert "SHA-256" in Verifier(lambda: tmp_path / "node").difference(path, entry)


def test_what_is_set_aside_can_be_published_again(store: Store, step: Step, tmp_path: Path) -> None:
    for text in ("damaged", "whole"):
        with store.publish(step) as draft:
            (draft.folder / "a").write_text(text)
        if text == "damaged":
            place = store.set_aside(step.kind, step.hash)
            assert not store.has(step)
            assert "manifest.json" in store.list_folder(place)
    assert store.file(step, "a").read_text() == "whole"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"kind": "score"}', b"\xff\xfe"])
def test_an_unreadable_manifest_is_no_artifact_and_is_replaced(
    store: Store, step: Step, content: bytes
) -> None:
    store.write_file(f"steps/{step.kind}/{step.hash}/manifest.json", content)
    assert not store.has(step)
    with pytest.raises(DamagedArtifactError, match=r"manifest\.json cannot be read"):
        store.manifest(step)
    with store.publish(step) as draft:
        (draft.folder / "a").write_text("whole")
    assert store.file(step, "a").read_text() == "whole"


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b"])
def test_a_manifest_names_no_file_outside_its_folder(store: Store, step: Step, name: str) -> None:
    """A download would write there."""
    manifest = {"kind": step.kind, "hash": step.hash, "identity": {}, "needs": {}}
    files = {name: {"bytes": 1, "sha256": "0" * 64}}
    content = json.dumps(manifest | {"files": files}).encode()
    store.write_file(f"steps/{step.kind}/{step.hash}/manifest.json", content)
    with pytest.raises(DamagedArtifactError, match="outside the artifact"):
        store.folder(step)


def test_the_manifest_of_another_artifact_is_damage(store: Store, step: Step) -> None:
    with store.publish(step) as draft:
        (draft.folder / "a").write_text("a")
    other = Manifest.from_bytes(store.manifest(step).to_bytes()).to_bytes()
    place = f"steps/{step.kind}/{'0' * 64}/manifest.json"
    store.write_file(place, other)
    with pytest.raises(DamagedArtifactError, match="belongs to"):
        store.manifest_at(step.kind, "0" * 64)


def test_a_damaged_download_is_fetched_again(remote: Store, step: Step) -> None:
    with remote.publish(step) as draft:
        (draft.folder / "a").write_text("content")
    folder = remote.folder(step)
    flip(folder / "a")
    assert (remote.folder(step) / "a").read_text() == "content"
    shutil.rmtree(folder)
    alone = remote.file(step, "a")
    flip(alone)
    assert remote.file(step, "a").read_text() == "content"


# --- parts -------------------------------------------------------------------------------------


def test_a_damaged_part_is_neither_read_nor_published(
    disk: Store, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("chunk-0", "chunk-1"):
        disk.write_part(step, name, name.encode())
    part = Path(disk.root, "parts", f"{step.kind}-{step.hash}", "chunk-1")
    flip(part)
    with pytest.raises(DamagedPartError, match="chunk-1 has SHA-256"):
        disk.read_part(step, "chunk-1")
    with pytest.raises(DamagedPartError), disk.publish(step) as draft:
        draft.parts = ["chunk-0", "chunk-1"]
    assert not disk.has(step)

    with caplog.at_level(logging.WARNING):
        assert disk.intact_parts(step) == {"chunk-0"}
    assert "the part chunk-1 of score" in caplog.text
    (kept,) = disk.list_folder("quarantine")
    assert Path(disk.root, "quarantine", kept).read_bytes() == b"chunk-0", "one bit away"
    disk.write_part(step, "chunk-1", b"chunk-1")
    assert disk.intact_parts(step) == {"chunk-0", "chunk-1"}


def test_a_part_whose_digest_is_damaged_is_made_again(disk: Store, step: Step) -> None:
    disk.write_part(step, "chunk-0", b"content")
    digests = Path(disk.root, "parts", f"{step.kind}-{step.hash}", "digests")
    (digests / "chunk-0").write_bytes(b"\xff")
    assert disk.intact_parts(step) == set()


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[1]\ncontent", b"\xff"])
def test_a_damaged_record_of_a_part_is_made_again(
    remote: Store, step: Step, content: bytes
) -> None:
    remote.write_part(step, "chunk-0", b"content")
    remote.write_file(f"parts/{step.kind}-{step.hash}/chunk-0", content)
    with pytest.raises(DamagedPartError):
        remote.read_part(step, "chunk-0")
    assert remote.intact_parts(step) == set()
    assert len(remote.list_folder("quarantine")) == 1


def test_a_line_that_was_cut_off_does_not_swallow_the_next(disk: Store) -> None:
    ledger = Ledger(disk, "jobs/a/ledger.jsonl")
    ledger.append('{"event": "one"}')
    with Path(disk.root, "jobs/a/ledger.jsonl").open("ab") as stream:
        stream.write(b'{"event": "ha\xff')
    ledger.append('{"event": "two"}')
    assert [line[:14] for line in ledger.read()] == [
        '{"event": "one',
        '{"event": "ha�',
        '{"event": "two',
    ]
