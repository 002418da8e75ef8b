"""The pages of jobs: the overview, and one job while it runs and afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flexkd_dashboards.web import Sources, create_app
from flexkd_platform.store import Holder, Leases, open_store

from .test_leaderboard import captions_of, rows_of
from .written_jobs import JOB, ended, event, planned, results_of, started, write_job

EVENTS = [
    event("started", 0, trials=3, executor="ray"),
    event("step started", 1, kind="teacher", hash="c"),
    event("step", 20, kind="teacher", hash="c", status="ran", seconds=19.0),
    started(1, 21),
    ended(1, 30),
    started(2, 31),
]
TRIALS = [planned(1), planned(2, "kd"), planned(3, "flexkd")]


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(create_app(Sources(str(tmp_path), "none")))


@pytest.fixture
def running(tmp_path: Path) -> Path:
    """A job whose second trial runs."""
    write_job(tmp_path, EVENTS, trials=TRIALS, results=results_of())
    leases = Leases(open_store(str(tmp_path)), Holder("anna", "node-1", os.getpid(), JOB), print)
    assert leases.take(f"leases/distill-{2:064x}") is None
    leases.close = lambda: None  # type: ignore[method-assign]
    return tmp_path


def test_a_running_job_comes_first(running: Path, client: TestClient) -> None:
    done = [*EVENTS, event("done", 3000)]
    write_job(running, done, job="later-22222222", trials=TRIALS)
    page = client.get("/jobs").text
    assert 'data-refresh="5"' in page
    rows = rows_of(page)
    assert [row[0] for row in rows] == [JOB, "later-22222222"]
    assert rows[0][1:5] == ["running", " 1 of 3", "1 done", "1 trial"]
    assert rows[1][1] == "done"


def test_the_overview_is_filtered_and_exported(running: Path, client: TestClient) -> None:
    write_job(running, [*EVENTS, event("done", 3000)], job="later-22222222", trials=TRIALS)
    assert [row[0] for row in rows_of(client.get("/jobs?status=done").text)] == ["later-22222222"]
    assert [row[0] for row in rows_of(client.get("/jobs?find=QUICK").text)] == [JOB]
    lines = client.get("/jobs?export=jobs.csv").text.splitlines()
    assert lines[1].startswith(f"{JOB},running,1 of 3,1 done,1 trial,")


def test_the_page_of_a_running_job_updates_itself(running: Path, client: TestClient) -> None:
    page = client.get(f"/jobs/{JOB}").text
    assert 'data-refresh="3"' in page
    assert "anna on node-1" in page
    lines = [line for line in page.split("<li>") if "<time>" in line]
    assert "trial kd seed 1 started" in lines[0]  # the newest first
    assert "job started, 3 trials, ray" in lines[-1]
    running.joinpath(f"leases/distill-{2:064x}").unlink()
    page = client.get(f"/jobs/{JOB}").text
    assert "data-refresh" not in page
    assert "The same command resumes it" in page


def test_a_finished_job_shows_its_results_as_they_are(tmp_path: Path, client: TestClient) -> None:
    results = results_of(reason="CUDA out of memory")
    write_job(tmp_path, [*EVENTS, event("done", 60)], trials=TRIALS, results=results)
    page = client.get(f"/jobs/{JOB}").text
    assert captions_of(page) == ["Methods and settings, best first", "Trials", "Steps"]
    rows = rows_of(page)
    assert rows[0] == [
        *("flexkd", "α\xa0=\xa00.5", "3", "90.00 ± 1.00", "[88.00, 92.00]"),
        "+10.00 [8.00, 12.00] p\xa0=\xa00.002 *",
    ]
    assert rows[1][0] == "ft"
    assert rows[1][-1] == "–"
    assert "CUDA out of memory" in page
    assert "teacher" in page
    assert "name: quick" in page
    assert '<span class="better">+10.00' in page


def test_a_job_without_results_yet(tmp_path: Path, client: TestClient) -> None:
    write_job(tmp_path, EVENTS[:1])
    assert "It has no results yet" in client.get(f"/jobs/{JOB}").text


def test_the_report_of_a_job_is_served_without_an_origin(
    tmp_path: Path, client: TestClient
) -> None:
    folder = write_job(tmp_path, [*EVENTS, event("done", 60)])
    assert client.get(f"/jobs/{JOB}/report").status_code == 404
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text("<p>the report</p>")
    assert f'href="/jobs/{JOB}/report"' in client.get(f"/jobs/{JOB}").text
    answer = client.get(f"/jobs/{JOB}/report")
    assert answer.text == "<p>the report</p>"
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")
    assert client.get("/jobs/../report").status_code == 404
    assert client.get("/jobs/%2e%2e/report").status_code == 404
