"""URIs of storages: which are refused, and what of them is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from flexkd_platform.plan import Step
from flexkd_platform.store import StoreError, open_store


def test_ways_to_name_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with open_store(str(tmp_path / "s")).publish(step) as draft:
        (draft.folder / "a").write_text("content")
    for uri in (f"{tmp_path}/s", f"{tmp_path}/s/", "s", "./s", "~/s", f"file://{tmp_path}/s"):
        store = open_store(uri)
        assert store.has(step), uri
        assert store.uri == str(tmp_path / "s"), uri
        assert store.is_local


@pytest.mark.parametrize("uri", ["nowhere://bucket/prefix", "memory://bucket", "://x"])
def test_uris_that_name_no_storage(uri: str) -> None:
    with pytest.raises(StoreError, match=f"^{uri} is not a usable storage: "):
        open_store(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://AKIAKEY:hidden@bucket/p?region=x", "s3://bucket/p contains credentials before"),
        ("s3://AKIAKEY@bucket/p", "s3://bucket/p contains credentials before an @"),
        ("s3://bucket/p?access_key=AKIAKEY&secret_key=hidden", r"\(access_key, secret_key\)"),
        ("s3://bucket/p?session_token=hidden", r"\(session_token\)"),
        ("abfs://account:hidden@container/p", "abfs://container/p contains credentials"),
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_shown(uri: str, shown: str) -> None:
    with pytest.raises(StoreError, match=shown) as refused:
        open_store(uri)
    assert "AWS_SECRET_ACCESS_KEY" in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert "AKIAKEY" not in str(refused.value)


def test_what_a_uri_says_of_how_to_connect_stays_behind_the_place(
    s3_uri: str, tmp_path: Path
) -> None:
    store = open_store(s3_uri)
    place = store.uri_of("jobs/größe 1/a?b#c.json")
    before, _, query = s3_uri.partition("?")
    assert place.endswith(f"?{query}")
    assert place.startswith(before.replace("ä", "%C3%A4"))
    store.write_file("jobs/größe 1/a?b#c.json", b"content")
    filesystem, path = fs.FileSystem.from_uri(place)
    with filesystem.open_input_stream(path) as stream:
        assert stream.read() == b"content"
    assert open_store(str(tmp_path)).uri_of("jobs/a b") == f"{tmp_path}/jobs/a b"


def test_a_bucket_that_is_not_there_is_a_storage_that_cannot_be_written(s3_uri: str) -> None:
    store = open_store(s3_uri.replace("s3://team/", "s3://no-such-bucket/"))
    with pytest.raises(StoreError, match=r"(?i)cannot be written: .*no.such.bucket.*; create it"):
        store.check_writable()
