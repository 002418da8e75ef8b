"""`flexkd store`: what a storage holds, whether it is whole, and what no job needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flexkd_platform.cli.app import main
from flexkd_platform.store import Store, open_store

from ..plain_steps import plain_step

STEP = plain_step("score", {"chunk": 4})
OTHER = plain_step("score", {"chunk": 8})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two artifacts; a job uses the first of them."""
    store = open_store(str(tmp_path / "storage"))
    for step in (STEP, OTHER):
        with store.publish(step) as draft:
            (draft.folder / "a").write_text("content")
        store.write_part(step, "chunk-0", b"content")
    plan = {"steps": [{"kind": STEP.kind, "hash": STEP.hash}]}
    store.write_file("jobs/first-1/plan.json", json.dumps(plan).encode())
    return store


def asked(store: Store, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main(["store", *words, "--storage", store.uri, "--json"])
    return code, json.loads(capsys.readouterr().out)


def flip(store: Store, step: Any) -> None:
    path = Path(store.root, "steps", step.kind, step.hash, "a")
    path.write_text("kontent")


def test_the_list_names_the_jobs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = asked(store, capsys, "list")
    assert code == 0
    jobs: Mapping[str, Any] = {each["hash"]: (each["bytes"], each["jobs"]) for each in found}
    assert jobs == {STEP.hash: (7, ["first-1"]), OTHER.hash: (7, [])}
    assert main(["store", "list", "--storage", store.uri]) == 0
    assert "2 artifacts, 14 bytes" in capsys.readouterr().out


def test_verify_names_what_is_damaged(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(store, capsys, "verify") == (0, {"verified": 2, "damaged": [], "set_aside": []})
    flip(store, STEP)
    assert main(["store", "verify", "--storage", store.uri]) == 1
    shown = capsys.readouterr().out
    assert f"damaged: score {STEP.hash}" in shown
    assert "used by first-1" in shown
    assert open_store(store.uri).has(STEP), "nothing was moved"

    code, found = asked(store, capsys, "verify", "--set-aside")
    assert (code, len(found["set_aside"])) == (1, 1)
    assert not open_store(store.uri).has(STEP)
    assert asked(store, capsys, "verify")[0] == 0


def test_gc_deletes_only_what_no_job_uses_and_only_when_told(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.set_aside(*_published_as_damaged(store))
    expected = {
        f"steps/score/{OTHER.hash}": "used by no job",
        f"parts/score-{OTHER.hash}": "chunks or checkpoints of no job",
        f"quarantine/{store.list_folder('quarantine')[0]}": "damaged",
    }
    for words in ([], ["--delete"]):
        code, found = asked(store, capsys, "gc", *words)
        assert (code, found["deleted"]) == (0, bool(words))
        assert {each["path"]: each["reason"] for each in found["found"]} == expected
        assert all(each["bytes"] for each in found["found"])
    fresh = open_store(store.uri)
    assert (fresh.has(STEP), fresh.has(OTHER)) == (True, False)
    assert fresh.parts(STEP) == {"chunk-0"}
    assert asked(store, capsys, "gc") == (0, {"deleted": False, "found": []})


def _published_as_damaged(store: Store) -> tuple[str, str]:
    third = plain_step("score", {"chunk": 16})
    with store.publish(third) as draft:
        (draft.folder / "a").write_text("content")
    return third.kind, third.hash


def test_gc_refuses_where_a_plan_cannot_be_read(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """It might name what would be deleted."""
    store.write_file("jobs/second-2/plan.json", b'{"steps": [')
    code = main(["store", "gc", "--delete", "--storage", store.uri])
    assert code == 2
    assert "second-2/plan.json cannot be read" in capsys.readouterr().err
    assert open_store(store.uri).has(OTHER)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"job": 1}'])
def test_damaged_results_are_named_with_a_remedy(
    store: Store, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    store.write_file("jobs/first-1/results.json", content.encode())
    assert main(["report", "first-1", "--storage", store.uri]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "first-1/results.json is damaged" in told
    assert "run the job's spec again" in told


@pytest.mark.parametrize("command", ["list", "verify", "gc"])
def test_a_storage_of_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """A mistyped place would count as one without damage."""
    assert main(["store", command, "--storage", str(tmp_path / "typo")]) == 2
    assert "has neither jobs nor artifacts" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "typo").exists()
