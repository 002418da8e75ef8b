"""The pages about selection, representations, cost and errors, of one tiny finished job."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

import flexkd
from flexkd_dashboards.web import Sources, create_app
from flexkd_dashboards.web.pages import representations
from flexkd_platform.artifacts import PAIRS, read_log_file
from flexkd_platform.representations import Similarity, SimilarityRequest, Worker
from flexkd_platform.results import JobFiles
from flexkd_platform.store.manifest import describe_file

from ...flexkd_platform.tiny_jobs import material, spec_json
from .conftest import Watched, axe_findings, served

__all__ = ["material"]

PAGES = ("selection", "representations", "pareto", "errors")


@pytest.fixture(scope="module")
def job(material: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFiles:
    """Fine-tuning and Flex-KD on two drawn samples, two seeds each."""
    methods = [{"kind": "ft"}, {"kind": "flexkd", "pairing": "matched"}]
    changes = {
        "sweep": {"methods": methods, "seeds": [1, 2], "axes": {"score.seed": [1, 2]}},
        "score": {"chunk": 8, "samples": 24, "geometry": True},
    }
    spec = flexkd.load_spec({**spec_json(material), **changes})
    storage = tmp_path_factory.mktemp("pages") / "storage"
    results = flexkd.run(spec, storage=storage, address="none", tracking_uri="none", progress=False)
    assert results.status == "done"
    return results.files


@pytest.fixture(scope="module")
def url(job: JobFiles) -> str:
    return f"?job={job.folder.id}"


@pytest.fixture
def client(job: JobFiles) -> TestClient:
    return TestClient(create_app(Sources(job.store.uri, "none")))


def figures(text: str) -> dict[str, Any]:
    """The figures of a page, by name, as Plotly draws them."""
    found = re.search(
        r'<script id="figure-data" type="application/json">(.*?)</script>', text, re.S
    )
    assert found is not None
    drawn: dict[str, Any] = json.loads(found[1])["figures"]
    return drawn


def exported(client: TestClient, url: str, name: str) -> list[dict[str, str]]:
    """The rows of a table, from its CSV file."""
    answer = client.get(f"{url}&export={name}.csv")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text)))


def flexkd_trials(job: JobFiles) -> list[dict[str, Any]]:
    return [trial for trial in job.results["trials"] if trial["method"] == "flexkd"]


# --- selection ---------------------------------------------------------------------------------


def test_units_are_listed_by_importance_with_those_selected(
    client: TestClient, url: str, job: JobFiles
) -> None:
    rows = exported(client, f"/selection{url}", "units")
    selections = job.results["selection"]
    assert len(rows) == sum(entry["d_teacher"] for entry in selections)
    by_label: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_label.setdefault(row["selection"], []).append(row)
    for own, entry in zip(by_label.values(), selections, strict=True):
        values = job.importance(entry["score_hash"])
        assert [float(row["G"]) for row in own] == sorted(
            (float(f"{v:.6g}") for v in values), reverse=True
        )
        chosen = [int(row["unit"]) for row in own if row["selected"] == "yes"]
        assert chosen == entry["units"]


def test_overlap_is_the_jaccard_index_and_pairs_are_counted(
    client: TestClient, url: str, job: JobFiles
) -> None:
    drawn = figures(client.get(f"/selection{url}").text)
    one, other = (set(entry["units"]) for entry in job.results["selection"])
    expected = len(one & other) / len(one | other)
    assert drawn["overlap"]["data"][0]["z"][0][1] == pytest.approx(expected, abs=1e-5)
    pairs = [
        json.loads(job.store.file_at("distill", trial["hash"], PAIRS).read_text())[0]["units"]
        for trial in flexkd_trials(job)
    ]
    same = [[float(np.mean(np.equal(a, b))) for b in pairs] for a in pairs]
    np.testing.assert_allclose(drawn["kept-pairs"]["data"][0]["z"], same, atol=1e-9)


def test_the_effective_dimension_has_its_error(client: TestClient, url: str, job: JobFiles) -> None:
    rows = exported(client, f"/selection{url}", "spectra")
    first = job.geometry(job.results["selection"][0]["score_hash"])
    assert first is not None
    assert rows[0]["effective dimension"] == str(first["effective_dimension"])
    assert float(rows[0]["error"]) == first["effective_dimension_error"]


# --- errors ------------------------------------------------------------------------------------

LABELS = [place % 2 for place in range(12)]


def with_predictions(
    job: JobFiles, folder: Path, table_of: Callable[[Mapping[str, Any]], pa.Table]
) -> TestClient:
    """The app on a copy of the storage in which each trial has predicted something else."""
    shutil.copytree(job.store.uri, folder / "storage")
    for trial in job.results["trials"]:
        place = folder / "storage" / "steps" / "evaluate" / trial["evaluation"]
        pq.write_table(table_of(trial), place / "predictions.parquet")
        manifest = json.loads((place / "manifest.json").read_text())
        entry = describe_file(place / "predictions.parquet")
        manifest["files"]["predictions.parquet"] = asdict(entry)
        (place / "manifest.json").write_text(json.dumps(manifest))
    return TestClient(create_app(Sources(str(folder / "storage"), "none")))


def test_every_disagreement_is_listed_with_its_text(
    url: str, job: JobFiles, tmp_path: Path
) -> None:
    draw = np.random.default_rng(0)
    predicted: dict[str, list[Any]] = {"ft": [], "flexkd": []}

    def table_of(trial: Mapping[str, Any]) -> pa.Table:
        outputs_NC = draw.normal(size=(12, 2))
        if trial["params"].get("score.seed", 1) == 1:
            predicted[trial["method"]].append(outputs_NC.argmax(axis=1))
        return pa.table({"label": LABELS, "outputs": outputs_NC.tolist()})

    client = with_predictions(job, tmp_path, table_of)
    # Of two seeds that differ the smaller class counts.
    ours, theirs = (np.minimum(*predicted[name]) for name in ("ft", "flexkd"))
    dataset = next(step["hash"] for step in job.results["steps"] if step["kind"] == "dataset")
    folder = job.store.folder_at("dataset", dataset)
    texts = pq.read_table(folder / "test.parquet")["text"].to_pylist()
    (second,) = re.findall(
        r'<option value="(flexkd[^"]*seed=1)"', client.get(f"/errors{url}&second=ft").text
    )[:1]
    view = f"/errors{url}&first=ft&second={second}"
    differ = [place for place in range(12) if ours[place] != theirs[place]]
    assert differ, "students that agree show nothing"
    rows = exported(client, view, "disagreements")
    assert {int(row["example"]): row["text"] for row in rows} == {p: texts[p] for p in differ}
    first_right = exported(client, f"{view}&right=first", "disagreements")
    expected = [place for place in differ if ours[place] == LABELS[place]]
    assert [int(row["example"]) for row in first_right] == expected


def test_generated_texts_are_side_by_side_and_long_ones_folded(
    url: str, job: JobFiles, tmp_path: Path
) -> None:
    hostile, long = "<script>alert(1)</script>", "a very long answer " * 40

    def table_of(trial: Mapping[str, Any]) -> pa.Table:
        text = hostile if trial["method"] == "ft" else long
        score = 0.25 if trial["method"] == "ft" else 0.75
        return pa.table(
            {
                "seed": [0] * 12,
                "example": list(range(12)),
                "prediction": [text] * 12,
                "references": [["one", "two"]] * 12,
                "rougeL": [score] * 12,
            }
        )

    client = with_predictions(job, tmp_path, table_of)
    page = client.get(f"/errors{url}&first=ft").text
    assert hostile not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '<details class="fold"><summary>a very long answer' in page
    assert "plot-confusion" not in page
    rows = exported(client, f"/errors{url}&first=ft", "disagreements")
    assert len(rows) == 12
    assert list(rows[0].values())[2:] == ["one\ntwo", hostile, long, "0.250", "0.750"]


def test_the_confusion_matrix_counts_all_seeds(client: TestClient, url: str, job: JobFiles) -> None:
    cells = figures(client.get(f"/errors{url}&first=ft").text)["confusion"]["data"][0]["customdata"]
    assert sum(map(sum, cells)) == 2 * 12
    accuracies = [
        trial["metrics"]["test/accuracy"]
        for trial in job.results["trials"]
        if trial["method"] == "ft"
    ]
    right = sum(cells[place][place] for place in range(len(cells)))
    assert right / 24 == pytest.approx(np.mean(accuracies))
    one = figures(client.get(f"/errors{url}&first=ft&second=ft&seed=2").text)["confusion"]
    assert sum(map(sum, one["data"][0]["customdata"])) == 12


# --- cost --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", ["parameters", "seconds", "latency", "weights"])
def test_groups_are_drawn_at_their_cost(
    client: TestClient, url: str, job: JobFiles, cost: str
) -> None:
    page = client.get(f"/pareto{url}&cost={cost}").text
    points = [t for t in figures(page)["pareto"]["data"] if t["mode"] == "markers"]
    students = [point for point in points if not point["marker"]["symbol"].endswith("-open")]
    assert len(students) == len(job.results["groups"]) == 3
    assert len(points) - len(students) == (cost == "parameters")  # the teacher's are known
    means = sorted(
        100 * group["metrics"]["test/accuracy"]["mean"] for group in job.results["groups"]
    )
    assert sorted(point["y"][0] for point in students) == pytest.approx(means, rel=1e-5)
    rows = exported(client, f"/pareto{url}&cost={cost}", "pareto")
    assert {row["on the front"] for row in rows} >= {"yes", "–"}
    assert {row["device"] for row in rows} == {"CPU, 1 thread", "–"}


def test_a_cost_that_nothing_measured_is_named(client: TestClient, url: str) -> None:
    page = client.get(f"/pareto{url}&cost=peak").text
    assert "The peak memory of the GPU is not known" in page
    assert "plot-pareto" not in page


# --- representations ---------------------------------------------------------------------------


def test_the_correlation_over_training_is_that_of_the_log(
    client: TestClient, url: str, job: JobFiles
) -> None:
    trial = flexkd_trials(job)[0]["hash"]
    view = f"/representations{url}&student={trial[:12]}"
    rows = exported(client, view, "training-correlation")
    log = read_log_file(job.store.file_at("distill", trial, "log.parquet"))
    assert [row["step"] for row in rows] == [str(entry.step) for entry in log]
    assert [row["median"] for row in rows] == [
        f"{entry.values['train/correlation_p50']:.4f}" for entry in log
    ]


def test_nothing_is_computed_until_somebody_asks(
    client: TestClient, url: str, job: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    answer = Similarity((0, 1), (0, 1, 2), ((1.0, 0.5, None),) * 2, (12,), 12)
    monkeypatch.setattr(
        representations, "WORKER", Worker(lambda files, request: asked.append(request) or answer)
    )
    trial = flexkd_trials(job)[0]["hash"]
    view = f"/representations{url}&student={trial[:12]}"
    page = client.get(view).text
    assert not asked
    link = next(
        href for href in re.findall(r'href="([^"]+)"', page) if href.endswith("compute=cka")
    )
    waiting = client.get(link.replace("&amp;", "&")).text
    assert "Being computed" in waiting
    assert 'data-refresh="2"' in waiting
    representations.WORKER.finish()
    shown = client.get(link.replace("&amp;", "&")).text
    assert figures(shown)["cka"]["data"][0]["z"] == [list(row) for row in answer.cka]
    assert [type(one) for one in asked] == [SimilarityRequest]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("row=x", "&#x27;x&#x27; is not the number of an example"),
        ("threshold=-1", "is not a number from 0 on"),
    ],
)
def test_a_wrong_number_is_explained(
    client: TestClient, url: str, query: str, message: str
) -> None:
    answer = client.get(f"/representations{url}&{query}")
    assert answer.status_code == 400
    assert message in answer.text


# --- all ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_a_storage_without_jobs_says_so(tmp_path: Path, page: str) -> None:
    answer = TestClient(create_app(Sources(str(tmp_path), "none"))).get(f"/{page}")
    assert answer.status_code == 200
    assert "No job in the storage has results yet" in answer.text


@pytest.mark.parametrize("page", PAGES)
def test_what_there_is_not_is_no_traceback(client: TestClient, url: str, page: str) -> None:
    hostile = "%3Cscript%3Ealert(1)%3C/script%3E"
    answer = client.get(f"/{page}?job={hostile}")
    assert answer.status_code == 404
    other = client.get(
        f"/{page}{url}&student={hostile}&first={hostile}&set={hostile}&metric={hostile}"
        f"&cost={hostile}&right={hostile}&seed={hostile}"
    )
    assert other.status_code == 200
    for text in (answer.text, other.text):
        assert "<script>alert" not in text


def test_a_page_says_what_was_deleted(job: JobFiles, tmp_path: Path) -> None:
    """Of a storage that lacks evaluations, students and scores: sentences, and no traceback."""
    shutil.copytree(job.store.uri, tmp_path / "storage")
    for kind in ("evaluate", "distill"):
        shutil.rmtree(tmp_path / "storage" / "steps" / kind)
    client = TestClient(create_app(Sources(str(tmp_path / "storage"), "none")))
    found = {page: client.get(f"/{page}") for page in PAGES}
    assert found["selection"].status_code == found["pareto"].status_code == 200
    assert found["errors"].status_code == found["representations"].status_code == 400
    assert "the predictions on test of seed 1 are not there" in found["errors"].text
    assert "the student is not there" in found["representations"].text
    shutil.rmtree(tmp_path / "storage" / "steps" / "score")
    again = TestClient(create_app(Sources(str(tmp_path / "storage"), "none")))
    answer = again.get("/selection")
    assert answer.status_code == 503
    assert "The storage cannot be read: no score" in answer.text


@pytest.fixture(scope="module")
def place(job: JobFiles) -> Iterator[str]:
    with served(Sources(job.store.uri, "none")) as found:
        yield found


def test_pages_work_in_a_browser(place: str, open_page: Callable[..., Watched]) -> None:
    """The heat maps of one page and the texts of another, on a narrow screen."""
    settings = {"viewport": {"width": 400, "height": 800}, "color_scheme": "dark"}
    for page in ("selection", "errors"):
        watched = open_page(f"{place}/{page}", **settings)
        watched.page.wait_for_load_state("networkidle")
        assert watched.page.locator(".js-plotly-plot").count() == len(
            figures(watched.page.content())
        )
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 400
        assert axe_findings(watched.page) == []
        assert watched.complaints == []
