"""Where a job's files are, as people are told."""

from __future__ import annotations

from pathlib import Path

from pyarrow import fs

from flexkd_platform.results import JobFolder
from flexkd_platform.store import Store, open_store


def test_a_file_on_a_disk_is_its_path(tmp_path: Path) -> None:
    folder = JobFolder(open_store(str(tmp_path)), "quick-12345678")
    place = f"{tmp_path}/jobs/quick-12345678/report/index.html"
    assert folder.place("report/index.html") == place


def test_a_file_in_a_bucket_is_named_before_the_settings_of_its_uri() -> None:
    uri = "s3://team/runs?endpoint_override=s3.example.org:9000&scheme=http"
    store = Store(fs.LocalFileSystem(), "team/runs", uri)
    assert JobFolder(store, "quick-12345678").place("report/index.html") == (
        "s3://team/runs/jobs/quick-12345678/report/index.html"
        "?endpoint_override=s3.example.org:9000&scheme=http"
    )
