"""A job in a storage without locks belongs to one process at a time, and to none that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow import fs

from flexkd_platform.job import JobFolder, lease
from flexkd_platform.job.lease import Lease
from flexkd_platform.spec import SpecError
from flexkd_platform.store import Store

PATH = "jobs/quick-12345678/.lock"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One that the store does not take for a disk; readers of fsspec's memory share a position."""
    (tmp_path / PATH).parent.mkdir(parents=True)
    return Store(fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "", "memory://bucket")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes come every hundredth of a second. Who is alive has two minutes to show it."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(lease, "DEAD_SECONDS", 120.0)


@pytest.fixture
def begin(store: Store) -> Iterator[Callable[[], Lease]]:
    """A process that tries to take the job; what it holds at the end it gives back."""
    begun: list[Lease] = []

    def make() -> Lease:
        begun.append(Lease(store, PATH))
        return begun[-1]

    yield make
    for each in begun:
        if each._beating.ident is not None:
            each.give_back()


def nothing() -> None:
    """Nobody is told."""


def test_one_has_it_and_gives_it_back(store: Store, begin: Callable[[], Lease]) -> None:
    waited: list[bool] = []
    first, second = begin(), begin()
    assert first.take(lambda: waited.append(True))
    assert waited == [], "nobody was there"
    assert not second.take(lambda: waited.append(True))
    assert waited == [True]
    first.give_back()
    assert store.list_folder("jobs/quick-12345678") == []
    assert begin().take(lambda: waited.append(True))
    assert waited == [True]


def test_who_is_gone_has_nothing(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that nobody writes anew."""
    monkeypatch.setattr(lease, "DEAD_SECONDS", 0.05)
    store.write_file(PATH, b"somebody 7\n")
    assert begin().take(nothing)


def test_who_gives_it_back_while_somebody_looks(store: Store, begin: Callable[[], Lease]) -> None:
    store.write_file(PATH, b"somebody 7\n")
    assert begin().take(lambda: store.drop_file(PATH))


def test_of_two_at_one_instant_one_has_it(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either has written."""
    one, two = begin(), begin()
    both_looked, both_wrote = threading.Barrier(2), threading.Barrier(2)
    for each in (one, two):
        monkeypatch.setattr(each, "_abandoned", lambda waiting: both_looked.wait(60) >= 0)
    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=lambda _: both_wrote.wait(60)))
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda each=each: taken.append(each.take(nothing)))
        for each in (one, two)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == [False, True]


def test_what_somebody_else_has_taken_over_is_not_taken_away(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 120.0)
    first = begin()
    assert first.take(nothing)
    store.write_file(PATH, b"somebody 0\n")
    first.give_back()
    assert store.read_file(PATH) == b"somebody 0\n"


def test_a_job_that_runs_is_refused(store: Store) -> None:
    told: list[str] = []
    folder = JobFolder(store, "quick-12345678")
    with folder.locked(told.append):
        assert told == []
        with (
            pytest.raises(SpecError, match="the job quick-12345678 is running already"),
            folder.locked(told.append),
        ):
            pass
        assert len(told) == 1
        assert "looking whether they are still at it" in told[0]
    with folder.locked(told.append):
        assert len(told) == 1
