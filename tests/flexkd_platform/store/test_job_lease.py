"""A job in a storage without locks belongs to one process at a time, and to none that is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyarrow import fs

from flexkd_platform.results import JobFolder
from flexkd_platform.spec import SpecError
from flexkd_platform.store import Store, transfer
from flexkd_platform.store import job_lease as lease
from flexkd_platform.store.job_lease import Lease

PATH = "jobs/quick-12345678/.lock"


class Bucket(Store):
    """One that the store does not take for a disk; its objects are put whole, as by S3."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = fs.SubTreeFileSystem(str(folder), fs.LocalFileSystem())
        super().__init__(files, "", "memory://bucket")

    def _write(self, path: str, content: bytes) -> None:
        with transfer.replacing(self._folder / path.lstrip("/")) as aside:
            aside.write_bytes(content)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Readers of fsspec's memory share a position: hence a folder."""
    (tmp_path / PATH).parent.mkdir(parents=True)
    return Bucket(tmp_path)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes come every hundredth of a second. Who is alive has two minutes to show it."""
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(lease, "DEAD_SECONDS", 120.0)


@pytest.fixture
def told() -> list[str]:
    """What processes are told meanwhile."""
    return []


@pytest.fixture
def begin(store: Store, told: list[str]) -> Iterator[Callable[[], Lease]]:
    """A process that tries to take the job; what it holds at the end it gives back."""
    begun: list[Lease] = []

    def make() -> Lease:
        begun.append(Lease(store, PATH, told.append))
        return begun[-1]

    yield make
    for each in begun:
        if each._beating.ident is not None:
            each.give_back()


def test_one_has_it_and_gives_it_back(
    store: Store, begin: Callable[[], Lease], told: list[str]
) -> None:
    first, second = begin(), begin()
    assert first.take()
    assert told == [], "nobody was there"
    assert not second.take()
    assert len(told) == 1
    first.give_back()
    assert store.list_folder("jobs/quick-12345678") == []
    assert begin().take()
    assert len(told) == 1


def test_who_is_gone_has_nothing(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that nobody writes anew."""
    monkeypatch.setattr(lease, "DEAD_SECONDS", 0.05)
    store.write_file(PATH, b"somebody 7\n")
    assert begin().take()


def test_who_gives_it_back_while_somebody_looks(store: Store) -> None:
    """Also one that writes a last note on its way out."""
    notes = iter([b"somebody 8\n", None])

    def look(_: float) -> None:
        note = next(notes)
        store.drop_file(PATH) if note is None else store.write_file(PATH, note)

    store.write_file(PATH, b"somebody 7\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "time", SimpleNamespace(sleep=look, monotonic=lambda: 0.0))
        assert Lease(store, PATH, lambda _: None)._abandoned()


def test_of_two_at_one_instant_one_has_it(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either has written."""
    one, two = begin(), begin()
    both_looked, both_wrote = threading.Barrier(2), threading.Barrier(2)
    for each in (one, two):
        monkeypatch.setattr(each, "_abandoned", lambda: both_looked.wait(60) >= 0)
    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=lambda _: both_wrote.wait(60)))
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda each=each: taken.append(each.take())) for each in (one, two)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == [False, True]


def test_who_is_interrupted_while_it_begins_leaves_nothing(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        assert store.read_file(PATH)
        raise KeyboardInterrupt

    monkeypatch.setattr(lease, "time", SimpleNamespace(sleep=interrupt))
    with pytest.raises(KeyboardInterrupt):
        begin().take()
    assert store.list_folder("jobs/quick-12345678") == []


def test_what_somebody_else_has_taken_over_is_theirs(
    store: Store, begin: Callable[[], Lease], told: list[str]
) -> None:
    first = begin()
    assert first.take()
    store.write_file(PATH, b"somebody 0\n")
    # It may have been writing its own note just then.
    while first._beating.is_alive():
        if not store.read_file(PATH).startswith(b"somebody"):
            store.write_file(PATH, b"somebody 0\n")
    assert told == ["another process took over this job's lease and runs the same job"]
    first.give_back()
    assert store.read_file(PATH) == b"somebody 0\n"


def test_a_storage_that_does_not_answer_does_not_hold_up_the_end(
    store: Store, begin: Callable[[], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEAVE_SECONDS", 0.05)
    first, answer = begin(), threading.Event()
    assert first.take()
    monkeypatch.setattr(store, "read_file", lambda path: answer.wait(120) and b"")
    first.give_back()
    assert not answer.is_set(), "it did not wait for that"
    answer.set()


def test_a_job_that_runs_is_refused(store: Store) -> None:
    told: list[str] = []
    folder = JobFolder(store, "quick-12345678")
    with folder.locked(told.append):
        assert told == []
        with (
            pytest.raises(SpecError, match="the job quick-12345678 is already running"),
            folder.locked(told.append),
        ):
            pass
        assert len(told) == 1
        assert "another process may be running this job; checking for up to" in told[0]
    with folder.locked(told.append):
        assert len(told) == 1
