"""What the app answers in every state of its sources, and to every kind of request."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flexkd_dashboards.web import Sources, create_app
from flexkd_dashboards.web.page import NotFoundError, Page, View, by_path
from flexkd_dashboards.web.pages import PAGES
from flexkd_dashboards.web.query import Query
from flexkd_dashboards.web.sources import UnavailableError

from .conftest import MadeUp, trial, trials_of_a_job
from .written_jobs import JOB, ended, event, planned, results_of, write_job

OVERVIEWS = [path for path in PAGES if "{" not in path]
HOSTILE = '<script>alert("x")</script>'


def text_of(page: str) -> str:
    main = page.split("<main", 1)[1].split("</main>", 1)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", main)).split())


@pytest.mark.parametrize("path", OVERVIEWS)
def test_an_empty_store_is_a_page_with_a_sentence(path: str, tmp_path: Path) -> None:
    answer = TestClient(create_app(MadeUp(tmp_path))).get(f"/{path}")
    assert answer.status_code == 200
    assert re.search(r"No |yet", text_of(answer.text))


@pytest.mark.parametrize("path", OVERVIEWS)
def test_without_a_tracking_store_the_jobs_are_left(path: str, tmp_path: Path) -> None:
    write_job(tmp_path, [event("started", 0, trials=0), event("done", 1)])
    answer = TestClient(create_app(Sources(str(tmp_path), "none"))).get(f"/{path}")
    assert answer.status_code == 200
    if path in {"leaderboard", "curves", "search"}:
        assert "without a tracking store" in text_of(answer.text)
    if path == "jobs":
        assert JOB in answer.text


@pytest.mark.parametrize("path", OVERVIEWS)
def test_one_run_alone(path: str, tmp_path: Path) -> None:
    client = TestClient(create_app(MadeUp(tmp_path, [trial(1, "ft", 1, 0.7)])))
    answer = client.get(f"/{path}")
    assert answer.status_code == 200
    if path == "leaderboard":
        assert "70.00 (n=1)" in text_of(answer.text)


def test_failed_and_pruned_trials_are_counted_and_not_averaged(tmp_path: Path) -> None:
    records = [
        trial(1, "ft", 1, 0.7),
        trial(2, "ft", 2, 0.1, status="failed", metrics={}, reason="out of memory"),
        trial(3, "ft", 3, 0.1, status="pruned", metrics={}, reason="slow"),
    ]
    client = TestClient(create_app(MadeUp(tmp_path, records)))
    assert "ft 1 (1 pruned, 1 failed) 70.00 (n=1)" in text_of(client.get("/leaderboard").text)
    only_failed = TestClient(create_app(MadeUp(tmp_path, records[1:])))
    assert "No trial has finished yet" in only_failed.get("/leaderboard").text


@pytest.mark.parametrize("path", ["leaderboard", "curves", "search"])
def test_ten_thousand_runs_are_a_page_of_moderate_size(path: str, tmp_path: Path) -> None:
    records = [
        trial(
            n, ("kd", "flexkd")[n % 2], n // 2 % 5, 0.5 + n % 97 / 1000, params={"alpha": n // 10}
        )
        for n in range(10_000)
    ]
    answer = TestClient(create_app(MadeUp(tmp_path, records))).get(f"/{path}")
    assert answer.status_code == 200
    assert len(answer.text) < 1_500_000
    if path == "leaderboard":
        assert "1–50 of 2,000 rows" in answer.text
        assert len(answer.text) < 60_000


def test_a_store_that_cannot_be_read_is_a_sentence_and_503(sources: MadeUp) -> None:
    sources.failure = UnavailableError("http://team:5000 does not answer: Connection refused.")
    answer = TestClient(create_app(sources)).get("/leaderboard")
    assert answer.status_code == 503
    assert "http://team:5000 does not answer" in text_of(answer.text)


def test_a_server_that_goes_away_leaves_what_was_read(
    sources: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flexkd_dashboards.web.sources.FRESH_SECONDS", -1.0)
    monkeypatch.setattr("flexkd_dashboards.web.sources.RETRY_SECONDS", -1.0)
    client = TestClient(create_app(sources))
    before = client.get("/leaderboard")
    sources.failure = UnavailableError("http://team:5000 does not answer: Connection refused.")
    during = client.get("/leaderboard")
    sources.failure = None
    after = client.get("/leaderboard")
    assert "flexkd" in text_of(during.text)
    assert "does not answer" in text_of(during.text)
    assert during.status_code == 200
    assert after.text == before.text


def test_a_store_that_fails_is_not_asked_for_every_page(sources: MadeUp) -> None:
    sources.failure = UnavailableError("http://team:5000 does not answer: timed out.")
    client = TestClient(create_app(sources))
    assert client.get("/leaderboard").status_code == 503
    sources.failure = ZeroDivisionError("asked again")
    assert client.get("/curves").status_code == 503
    assert "timed out" in client.get("/search").text


def test_a_real_server_that_is_down_is_named_without_waiting(tmp_path: Path) -> None:
    client = TestClient(create_app(Sources(str(tmp_path), "http://anna:secret@127.0.0.1:9")))
    answer = client.get("/leaderboard")
    assert answer.status_code == 503
    assert "127.0.0.1:9" in answer.text
    assert "secret" not in answer.text


def test_a_database_that_does_not_exist_is_an_empty_one(tmp_path: Path) -> None:
    sources = Sources(str(tmp_path / "none"), f"sqlite:///{tmp_path}/none/mlflow.db")
    client = TestClient(create_app(sources))
    assert "No trial has finished yet" in client.get("/leaderboard").text
    assert "has no jobs yet" in client.get("/jobs").text
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_a_damaged_file_of_a_job_is_told_on_its_page(sources: MadeUp, client: TestClient) -> None:
    storage = Path(sources.storage)
    folder = write_job(storage, [event("started", 0, trials=1)], results='{"job": {')
    (folder / "plan.json").write_text("{")
    answer = client.get(f"/jobs/{JOB}")
    assert answer.status_code == 200
    assert "results.json is damaged" in text_of(answer.text)
    assert "plan.json is damaged" in text_of(answer.text)
    assert "run the job's spec again" in text_of(answer.text)
    assert client.get("/jobs").status_code == 200


def test_names_and_texts_are_escaped_everywhere(tmp_path: Path) -> None:
    name = f"{HOSTILE.replace('/', '∕')}-11111111"  # a folder's name has no slash
    trials = [planned(1, HOSTILE), planned(2)]
    events = [
        event("started", 0, trials=2, executor=HOSTILE),
        ended(1, 5, "failed", reason=HOSTILE),
        event("waiting", 6, kind=HOSTILE, hash="d", holder={"user": HOSTILE}),
    ]
    results = results_of(HOSTILE, reason=HOSTILE)
    write_job(tmp_path, events, job=name, trials=trials, results=results)
    settings = {"task": HOSTILE, "dataset.name": HOSTILE, HOSTILE: HOSTILE}
    records = [
        trial(n, HOSTILE, n % 3, 0.5 + n / 100, params={HOSTILE: n // 3}, settings=settings)
        for n in range(12)
    ]
    records = [*records, trial(99, "ft", 1, 0.5, users=(HOSTILE,), experiment=HOSTILE)]
    client = TestClient(create_app(MadeUp(tmp_path, records)))
    for path in [*OVERVIEWS, f"jobs/{name}", f"leaderboard?find={HOSTILE}", f"curves?x={HOSTILE}"]:
        answer = client.get(f"/{path}")
        assert answer.status_code in {200, 400}, path
        assert "<script>alert" not in answer.text, path
    assert "&lt;script&gt;alert" in client.get("/leaderboard").text
    assert "&lt;script&gt;alert" in client.get(f"/jobs/{name}").text


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("where=alhpa>=1", "no trial has 'alhpa'"),
        ("where=alpha>=", "where:"),
        ("from=yesterday", "from: 'yesterday' is no date"),
        ("metric=test/acuracy", "did you mean 'test/accuracy'?"),
        ("baseline=ftt", "unknown method 'ftt'"),
        ("sort=alhpa", "did you mean 'alpha'?"),
    ],
)
def test_what_cannot_be_asked_is_said_with_a_remedy(
    client: TestClient, asked: str, says: str
) -> None:
    answer = client.get(f"/leaderboard?{asked}")
    assert answer.status_code == 400
    assert says in text_of(answer.text)
    assert "<form" in answer.text  # to be corrected


def test_all_problems_are_said_at_once(client: TestClient) -> None:
    text = text_of(client.get("/leaderboard?from=x&to=y&where=alpha>=").text)
    assert "from:" in text
    assert "to:" in text
    assert "where:" in text


def test_paths_that_do_not_exist(client: TestClient) -> None:
    for path in ("/nowhere", "/jobs/nowhere", "/static/nowhere.js", "/static/../app.py"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "Traceback" not in answer.text
    assert client.get("/leaderboard?export=nothing.csv").status_code == 404
    assert client.get("/leaderboard?export=leaderboard-1.pdf").status_code == 404
    assert client.post("/leaderboard").status_code == 405


def test_every_answer_forbids_scripts_of_others(client: TestClient) -> None:
    for path in ("/leaderboard", "/nowhere", "/static/app.css", "/leaderboard?where=x=1"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert headers["x-content-type-options"] == "nosniff"
    page = client.get("/leaderboard").text
    assert re.findall(r"<script(?![^>]*src=)[^>]*>", page) == [
        '<script id="figure-data" type="application/json">'
    ]
    assert re.findall(r'\son\w+="', page) == []


def test_other_names_of_this_machine_are_refused(sources: MadeUp) -> None:
    app = create_app(sources, hosts=["127.0.0.1"])
    assert TestClient(app, base_url="http://127.0.0.1:8050").get("/jobs").status_code == 200
    assert TestClient(app, base_url="http://evil.example").get("/jobs").status_code == 400


def test_an_error_of_a_page_is_a_page_without_a_traceback(sources: MadeUp) -> None:
    def build(sources: Sources, query: Query) -> View:
        raise ZeroDivisionError(HOSTILE)

    app = create_app(sources, pages=by_path([Page("broken", "Broken", build)]))
    answer = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert answer.status_code == 500
    assert "its terminal shows the traceback" in answer.text
    assert "ZeroDivisionError" not in answer.text


def test_a_page_that_finds_nothing_says_so(sources: MadeUp) -> None:
    def build(sources: Sources, query: Query) -> View:
        raise NotFoundError("There is no such layer; there are 3.")

    app = create_app(sources, pages=by_path([Page("layers", "Layers", build)]))
    answer = TestClient(app).get("/layers")
    assert answer.status_code == 404
    assert "There is no such layer; there are 3." in answer.text


def test_two_pages_cannot_have_one_path() -> None:
    page = PAGES["jobs"]
    with pytest.raises(ValueError, match="two pages have the path 'jobs'"):
        by_path([page, page])


def test_trials_are_read_again_when_they_are_old(
    sources: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = TestClient(create_app(sources))
    assert "1 of 5" not in client.get("/leaderboard").text
    sources.records = trials_of_a_job(seeds=(1,))
    assert "20 finished trials" in client.get("/leaderboard").text  # still fresh
    monkeypatch.setattr("flexkd_dashboards.web.sources.FRESH_SECONDS", -1.0)
    assert "4 finished trials" in client.get("/leaderboard").text


def test_a_new_user_of_a_trial_is_a_change(
    sources: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flexkd_dashboards.web.sources.FRESH_SECONDS", -1.0)
    client = TestClient(create_app(sources))
    assert "bob" not in client.get("/leaderboard").text
    sources.records = [trial(0, "ft", 1, 0.7, users=("anna", "bob")), *sources.records[1:]]
    assert "bob (1)" in client.get("/leaderboard").text
