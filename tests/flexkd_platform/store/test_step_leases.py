"""The contract of leases, on a disk and on a storage that can only put and get."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flexkd_platform.store import Holder, Leases, Store, open_store
from flexkd_platform.store import step_leases as leases

from .test_job_lease import Bucket

PATH = "leases/teacher-abc"
ADA = Holder("ada", "one", os.getpid(), "job-a")
BOB = Holder("bob", "two", os.getpid(), "job-b")

Open = Callable[[Holder], Leases]


@pytest.fixture(params=["disk", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    (tmp_path / "leases").mkdir()
    return open_store(str(tmp_path)) if request.param == "disk" else Bucket(tmp_path)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def opened(store: Store, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """`opened(holder)`: the leases of a process; heartbeats come every hundredth of a second."""
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(leases, "SETTLE_SECONDS", 0.01)
    made: list[Leases] = []

    def make(holder: Holder) -> Leases:
        made.append(Leases(store, holder, warnings.append))
        return made[-1]

    yield make
    for each in made:
        each.close()


def note(store: Store) -> dict[str, object]:
    content: dict[str, object] = json.loads(store.read_file(PATH))
    return content


def test_one_has_it_and_the_other_sees_who(store: Store, opened: Open) -> None:
    ada, bob = opened(ADA), opened(BOB)
    assert ada.take(PATH) is None
    assert bob.take(PATH) == ADA
    assert bob.take("leases/another") is None
    ada.release(PATH)
    assert store.list_folder("leases") == ["another"]
    assert bob.take(PATH) is None
    assert ada.take(PATH) == BOB


def test_close_releases_all(store: Store, opened: Open) -> None:
    ada = opened(ADA)
    assert ada.take(PATH) is None
    assert ada.take("leases/another") is None
    ada.close()
    assert store.list_folder("leases") == []


def test_the_holder_writes_it_anew(store: Store, opened: Open) -> None:
    assert opened(ADA).take(PATH) is None
    before = note(store)
    while (now := note(store)) == before:
        time.sleep(0.01)
    assert {**now, "beat": 0} == before


def elsewhere(store: Store, beat: int = 1) -> None:
    """A file whose holder is on another machine."""
    holder = {"user": "eve", "host": "three", "pid": 1, "job": "job-e"}
    fields = {"holder": holder, "claim": "c", "machine": "m", "started": 0.0, "beat": beat}
    store.write_file(PATH, json.dumps(fields).encode())


def test_a_holder_elsewhere_is_dead_when_its_file_stays_as_it_is(
    store: Store, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0, sleep=lambda seconds: None)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(leases, "time", clock)
    ada = opened(ADA)
    elsewhere(store)
    found = ada.take(PATH)
    assert found is not None
    assert found.user == "eve"
    clock.now = leases.DEAD_SECONDS - 1
    assert ada.take(PATH) == found
    elsewhere(store, beat=2)
    clock.now += leases.DEAD_SECONDS - 1
    assert ada.take(PATH) == found, "it was alive after our first look"
    clock.now += leases.DEAD_SECONDS
    assert ada.take(PATH) is None
    assert store.list_folder("leases") == ["teacher-abc"]


def test_a_file_that_was_cut_off_is_taken_over_in_the_end(
    store: Store, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write_file(PATH, b"")
    ada = opened(ADA)
    assert ada.take(PATH) == leases.UNKNOWN
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.0)
    assert ada.take(PATH) is None


def _take_and_die(folder: str) -> None:
    holder = Holder("dead", "here", os.getpid(), "job-d")
    assert Leases(open_store(folder), holder, print).take(PATH) is None
    os._exit(9)


def test_a_process_that_was_killed_here_is_taken_over_at_once(
    store: Store, opened: Open, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_take_and_die, args=(str(tmp_path),)
    )
    process.start()
    process.join()
    assert process.exitcode == 9
    assert note(store)["beat"] == 0
    assert opened(ADA).take(PATH) is None


def test_of_many_that_find_a_dead_holder_one_gets_the_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk; an object store cannot exclude that a later put takes a lease from its winner."""
    (tmp_path / "leases").mkdir()
    store = open_store(str(tmp_path))
    many = [Leases(store, ADA, print) for _ in range(8)]
    elsewhere(store)
    for each in many:
        each.take(PATH)
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.0)
    start = threading.Barrier(len(many))
    found: list[Holder | None] = []

    def take(mine: Leases) -> None:
        start.wait(60)
        found.append(mine.take(PATH))

    threads = [threading.Thread(target=take, args=(each,)) for each in many]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found.count(None) == 1
    assert len(found) == len(many)
    for each in many:
        each.close()
    assert store.list_folder("leases") == []


def test_who_lost_a_lease_notices_and_leaves_it_alone(
    store: Store, opened: Open, warnings: list[str]
) -> None:
    ada = opened(ADA)
    assert ada.take(PATH) is None
    while PATH not in ada.lost:
        elsewhere(store)
        time.sleep(0.01)
    (warning,) = warnings
    assert warning.startswith("eve on three (job job-e, pid 1) took over leases/teacher-abc")
    ada.release(PATH)
    assert note(store)["claim"] == "c"


def test_who_is_interrupted_while_it_settles_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leases").mkdir()
    store = Bucket(tmp_path)

    def interrupt(seconds: float) -> None:
        assert store.read_file(PATH)
        raise KeyboardInterrupt

    monkeypatch.setattr(leases, "time", SimpleNamespace(sleep=interrupt, monotonic=time.monotonic))
    with pytest.raises(KeyboardInterrupt):
        Leases(store, ADA, print).take(PATH)
    assert store.list_folder("leases") == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664)])
def test_files_follow_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        ours = Leases(open_store(str(tmp_path)), ADA, print)
        assert ours.take(PATH) is None
        assert (tmp_path / PATH).stat().st_mode & 0o777 == mode
        ours.close()
    finally:
        os.umask(before)
