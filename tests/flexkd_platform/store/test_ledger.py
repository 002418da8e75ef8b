"""The contract of ledgers: every line once and in order, on any storage, whatever is killed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flexkd_platform.store import Store
from flexkd_platform.store.ledger import Ledger

from .conftest import MakeStore

PATH = "jobs/a/ledger.jsonl"

Open = Callable[[], Ledger]


@pytest.fixture
def opened(make_store: MakeStore) -> Open:
    """`opened()`: the ledger, as a new process finds it."""

    def make() -> Ledger:
        ledger = Ledger(make_store(), PATH)
        ledger.open()
        return ledger

    return make


def content(make_store: MakeStore) -> list[str]:
    return make_store().read_file(PATH).decode().splitlines()


def segments(make_store: MakeStore) -> list[str]:
    return make_store().list_folder(f"{PATH}.new")


def test_a_ledger_begins_empty(make_store: MakeStore) -> None:
    ledger = Ledger(make_store(), PATH)
    assert ledger.read() == ledger.open() == []
    ledger.close()
    assert make_store().list_folder("jobs") == []


def test_lines_of_several_processes_are_one_file(make_store: MakeStore, opened: Open) -> None:
    for lines in (['{"note": "größe"}', "second"], ["third"]):
        ledger = opened()
        for line in lines:
            ledger.append(line)
        ledger.close()
    assert content(make_store) == ['{"note": "größe"}', "second", "third"]
    assert segments(make_store) == []


def test_a_process_that_is_killed_loses_no_line(make_store: MakeStore, opened: Open) -> None:
    killed = opened()
    killed.append("first")
    killed.append("second")
    assert Ledger(make_store(), PATH).read() == ["first", "second"]
    late = opened()
    late.append("third")
    assert Ledger(make_store(), PATH).read() == ["first", "second", "third"]
    late.close()
    assert content(make_store) == ["first", "second", "third"]
    assert segments(make_store) == []


def test_lines_that_may_come_later_come_with_the_next(make_store: MakeStore, opened: Open) -> None:
    ledger = opened()
    ledger.append("reused 1", later=True)
    ledger.append("reused 2", later=True)
    assert Ledger(make_store(), PATH).read() == []
    ledger.append("ran")
    assert Ledger(make_store(), PATH).read() == ["reused 1", "reused 2", "ran"]
    ledger.append("reused 3", later=True)
    ledger.close()
    assert content(make_store) == ["reused 1", "reused 2", "ran", "reused 3"]


def test_a_crash_between_merge_and_deletion_doubles_nothing(
    make_store: MakeStore, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(store: Store, path: str) -> None:
        raise KeyboardInterrupt

    ledger = opened()
    ledger.append("first")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop_folder", crash)
        if ledger._store.is_local:
            ledger.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                ledger.close()
            assert segments(make_store) != []
    assert Ledger(make_store(), PATH).read() == ["first"]
    again = opened()
    again.append("second")
    again.close()
    assert content(make_store) == ["first", "second"]
    assert segments(make_store) == []


def test_an_object_store_is_not_asked_for_what_it_has(remote: Store) -> None:
    """A line is one put of its own size, however many there were before."""
    ledger = Ledger(remote, PATH)
    for number in range(20):
        ledger.append(f"line {number}")
    sizes = [
        len(remote.read_file(f"{PATH}.new/{name}")) for name in remote.list_folder(f"{PATH}.new")
    ]
    assert len(sizes) == 20
    assert max(sizes) < 10
