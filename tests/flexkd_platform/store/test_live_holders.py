"""Who runs steps now, as an observer sees it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from flexkd_platform.store import Holder, Leases, LiveHolders, open_store
from flexkd_platform.store import live_holders as module
from flexkd_platform.store.step_leases import LeaseNote

ADA = Holder("ada", "one", os.getpid(), "job-a")


def test_a_held_lease_is_seen_and_left_alone(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    assert LiveHolders(store).read() == {}
    leases = Leases(store, ADA, print)
    assert leases.take("leases/teacher-abc") is None
    before = store.read_file("leases/teacher-abc")
    assert LiveHolders(store).read() == {"teacher-abc": ADA}
    assert store.list_folder("leases") == ["teacher-abc"]
    assert store.read_file("leases/teacher-abc") == before
    leases.close()
    assert LiveHolders(store).read() == {}


def test_a_process_of_this_machine_that_ended_is_not_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    # Another process has this id now, which started at another time.
    note = replace(LeaseNote.by(ADA), started=0.0)
    store.write_file("leases/teacher-abc", note.to_bytes())
    store.write_file("leases/score-abc", b"{")
    assert LiveHolders(store).read() == {}


def test_one_of_another_machine_is_alive_while_its_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(str(tmp_path))
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    observer = LiveHolders(store)

    def beat(count: int) -> None:
        note = LeaseNote(ADA, "claim", "another machine", 0.0, count)
        store.write_file("leases/teacher-abc", note.to_bytes())

    for count in range(3):
        beat(count)
        clock[0] += 100
        assert observer.read() == {"teacher-abc": ADA}
    clock[0] += module.DEAD_SECONDS - 1
    assert observer.read() == {"teacher-abc": ADA}
    clock[0] += 2
    assert observer.read() == {}
    beat(3)
    assert observer.read() == {"teacher-abc": ADA}
