"""Damage of every kind of file: what is damaged is set aside, told by name, and made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.job import repair
from flexkd_platform.store import open_store

from .conftest import Shop

SPEC = """\
name: damaged
task: {kind: classification, max_length: 12, data: {source: files, path: WORLD/reviews}}
teacher: {model: WORLD/teacher, finetune: {epochs: 1, batch_size: 8, learning_rate: 1e-3}}
student: {init: {kind: sliced, layers: 1, hidden_size: 8}}
score: {chunk: 8}
distill: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
sweep: {methods: [{kind: ft}, {kind: flexkd}], seeds: [10]}
resources: {teacher_cpus: 1}
"""


def flip(path: Path) -> None:
    """One bit, in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def to_list(path: Path) -> None:
    path.write_text("[]")


def to_other_version(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))


def to_escape(path: Path) -> None:
    manifest = json.loads(path.read_text())
    manifest["files"]["../../../outside"] = {"bytes": 0, "sha256": ""}
    path.write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def finished(tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that is done."""
    folder = tmp_path_factory.mktemp("finished")
    results = Shop(folder, SPEC.replace("WORLD", str(tiny_world))).run()
    assert results["job"]["status"] == "done"
    return folder


@pytest.fixture
def shop(finished: Path, tiny_world: Path, tmp_path: Path) -> Shop:
    """A copy of the finished job that a test may damage."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return Shop(tmp_path, SPEC.replace("WORLD", str(tiny_world)))


def digests(folder: Path) -> dict[tuple[str, str], str]:
    """The digest of every published artifact, computed from its files."""
    store = open_store(str(folder / "storage"))
    found = {}
    for manifest in (folder / "storage/steps").glob("*/*/manifest.json"):
        kind, digest = manifest.parts[-3:-1]
        store.folder_at(kind, digest)
        found[kind, digest] = store.manifest_at(kind, digest).digest
    return found


def damaged_events(shop: Shop, results: dict[str, Any]) -> list[dict[str, Any]]:
    ledger = shop.folder / "storage/jobs" / results["job"]["id"] / "ledger.jsonl"
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [event for event in events if event["event"] == "damaged"]


def ran(results: dict[str, Any]) -> list[str]:
    return sorted(step["kind"] for step in results["steps"] if step["status"] == "ran")


@pytest.mark.parametrize(
    ("kind", "name", "damage"),
    [
        ("dataset", "train.parquet", flip),
        ("teacher", "model/model.safetensors", flip),
        ("score", "importance.safetensors", flip),
        ("score", "importance.safetensors", cut),
        ("score", "importance.safetensors", Path.unlink),
        ("select", "units.json", cut),
        ("distill", "log.parquet", cut),
        ("evaluate", "predictions.parquet", flip),
        ("select", "manifest.json", cut),
        ("select", "manifest.json", empty),
        ("score", "manifest.json", to_list),
        ("evaluate", "manifest.json", to_other_version),
        ("distill", "manifest.json", to_escape),
    ],
)
def test_what_is_damaged_is_made_again_and_nothing_else(
    shop: Shop, finished: Path, kind: str, name: str, damage: Callable[[Path], None]
) -> None:
    place = sorted((shop.folder / f"storage/steps/{kind}").iterdir())[0]
    damage(place / name)
    results = shop.run()
    assert results["job"]["status"] == "done"
    assert ran(results) == [kind]
    assert digests(shop.folder) == digests(finished)
    (event,) = damaged_events(shop, results)
    assert (event["kind"], event["hash"]) == (kind, place.name)
    assert event["reasons"][0].startswith(name)
    assert (shop.folder / "storage" / event["place"]).is_dir(), "it is kept for a look"
    assert damaged_events(shop, shop.run()) == [event], "and is whole from then on"


def test_a_large_file_is_compared_before_a_step_reads_it(
    shop: Shop, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student of a trial that is not evaluated yet, and the teacher that it is told by."""
    monkeypatch.setattr(repair, "SMALL", 0)
    for model in (shop.folder / "storage/steps").glob("distill/*/model/model.safetensors"):
        flip(model)
    shutil.rmtree(shop.folder / "storage/steps/evaluate")
    results = shop.run()
    assert ran(results) == ["distill", "distill", "evaluate", "evaluate"]
    assert digests(shop.folder) == digests(finished)


def test_what_is_damaged_while_a_step_runs_is_made_again(
    shop: Shop, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step fails where it reads it, and runs again after the repair."""
    monkeypatch.setattr(repair.Repair, "before_reuse", lambda *_: True)
    monkeypatch.setattr(repair.Repair, "before_start", lambda *_: True)
    (units,) = (shop.folder / "storage/steps/select").glob("*/units.json")
    flip(units)
    for folder in ("distill", "evaluate"):
        shutil.rmtree(shop.folder / "storage/steps" / folder)
    results = shop.run()
    assert results["job"]["status"] == "done"
    assert ran(results) == ["distill", "distill", "evaluate", "evaluate", "select"]
    assert digests(shop.folder) == digests(finished)


def test_a_disk_that_damages_every_time_fails_the_step_and_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    differences = open_store(str(shop.folder / "storage"))._verifier.__class__.difference

    def broken(self: Any, path: Path, entry: Any) -> str:
        bad = path.name == "units.json"
        return "cannot be trusted" if bad else differences(self, path, entry)

    monkeypatch.setattr("flexkd_platform.store.verification.Verifier.difference", broken)
    for folder in ("distill", "evaluate"):
        shutil.rmtree(shop.folder / "storage/steps" / folder)
    results = shop.run()
    assert results["job"]["status"] == "failed"
    states = {trial["method"]: trial["status"] for trial in results["trials"]}
    assert states == {"ft": "done", "flexkd": "failed"}
    (reason,) = [trial["reason"] for trial in results["trials"] if trial["method"] == "flexkd"]
    assert "units.json cannot be trusted" in reason
