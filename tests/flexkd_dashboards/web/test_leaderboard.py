"""The leaderboard: rows, filters, order, pages, colours and exports."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from flexkd_dashboards.web import create_app
from flexkd_platform.results import group_trials, leaderboard
from flexkd_platform.tracking import TrialRecord

from .conftest import MadeUp, trial, trials_of_a_job

METRIC = "test/accuracy"
Open = Callable[[list[TrialRecord]], TestClient]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """The app over some trials."""
    return lambda records: TestClient(create_app(MadeUp(tmp_path, records)))


def rows_of(page: str) -> list[list[str]]:
    """The texts of the cells of all tables."""
    body = "".join(re.findall(r"<tbody>(.*?)</tbody>", page, flags=re.DOTALL))
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def captions_of(page: str) -> list[str]:
    return re.findall(r"<caption>(.*?)</caption>", page)


def test_the_rows_are_those_of_compare(client: TestClient) -> None:
    groups = group_trials(trials_of_a_job(), baseline="ft", metrics=[METRIC])
    printed = leaderboard(groups, metrics=[METRIC], format="markdown").splitlines()[2:]
    expected = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed]
    assert rows_of(client.get("/leaderboard").text) == expected
    assert expected[0][:2] == ["flexkd", "α=5"]


def test_only_a_difference_that_survives_the_correction_has_a_colour(client: TestClient) -> None:
    page = client.get("/leaderboard").text
    coloured = re.findall(r'<span class="(better|worse)">(.*?)</span>', page)
    groups = group_trials(trials_of_a_job(), baseline="ft", metrics=[METRIC])
    compared = [group.versus[METRIC] for group in groups if group.versus]
    found = [one.verdict == "distinguishable" for one in compared]
    assert found == [True, True, False]  # by 8 points, by 1, and not at all
    assert [tone for tone, _ in coloured] == ["better", "better"]
    assert [row[-1] for row in rows_of(page) if row[-1].endswith(" *")] == [t for _, t in coloured]


def test_a_worse_method_has_the_other_colour(opened: Open) -> None:
    records = trials_of_a_job()
    worse = [
        trial(100 + t.seed, "kd", t.seed, t.metrics[METRIC] - 0.2)
        for t in records
        if t.method == "ft"
    ]
    page = opened(records + worse).get("/leaderboard?find=kd").text
    assert re.findall(r'<span class="(\w+)">-20', page) == []  # identical differences: no p
    assert rows_of(page)[-1][0] == "kd"
    varied = [trial(200 + n, "kd", n, 0.5 + 0.001 * (n * n % 7)) for n in range(1, 6)]
    page = opened(records + varied).get("/leaderboard").text
    assert 'class="worse"' in page


def test_tasks_are_ranked_apart(opened: Open) -> None:
    other = [trial(900 + n, "ft", n, 0.99, settings={"dataset.name": "sst2"}) for n in range(1, 4)]
    page = opened(trials_of_a_job() + other).get("/leaderboard").text
    assert captions_of(page) == ["classification, movie-reviews", "classification, sst2"]
    assert "in 2 tasks that are ranked apart" in page


def test_data_sets_side_by_side(opened: Open) -> None:
    records = trials_of_a_job()
    other = [
        trial(
            500 + place,
            one.method,
            one.seed,
            one.metrics[METRIC] + 0.1,
            params=one.params,
            settings={"dataset.name": "sst2"},
        )
        for place, one in enumerate(records)
    ]
    only = [trial(999, "kd", 1, 0.5, settings={"dataset.name": "sst2"})]
    client = opened(records + other + only)
    page = client.get("/leaderboard?columns=data-sets").text
    assert captions_of(page) == ["classification"]
    rows = rows_of(page)
    assert len(rows) == 5
    assert [row[0] for row in rows][-1] == "kd"
    assert rows[-1][2] == "–"
    for row in rows[:-1]:  # the same groups, ten points better
        mean, better = (float(cell.split(" ")[0]) for cell in row[2:])
        assert better - mean == pytest.approx(10, abs=0.011)


def test_filters_select_trials(opened: Open) -> None:
    records = trials_of_a_job()
    theirs = [
        trial(
            700 + n,
            "cka",
            n,
            0.6,
            users=("bob",),
            jobs=("2" * 64,),
            experiment="other",
            started=1_790_000_000.0,
        )
        for n in range(3)
    ]
    client = opened(records + theirs)
    for asked in (
        "user=bob",
        f"job={'2' * 64}",
        "experiment=other",
        "from=2026-07-01",
        "where=user%3Dbob",
        "where=method%3Dcka",
    ):
        assert {row[0] for row in rows_of(client.get(f"/leaderboard?{asked}").text)} == {"cka"}
    both = client.get("/leaderboard?user=bob&user=anna").text
    assert {row[0] for row in rows_of(both)} == {"cka", "flexkd", "ft"}
    until = client.get("/leaderboard?to=2026-07-01").text
    assert "cka" not in {row[0] for row in rows_of(until)}
    assert "No finished trial matches" in client.get("/leaderboard?user=bob&task=none").text


def test_hidden_rows_leave_the_correction_as_it_is(client: TestClient) -> None:
    everything = {tuple(row[:2]): row for row in rows_of(client.get("/leaderboard").text)}
    for asked in ("find=α=5", "where=test/accuracy>=0.75"):
        page = client.get("/leaderboard", params=dict([asked.split("=", 1)])).text
        assert "Holm over 3" in page
        shown = rows_of(page)
        assert len(shown) < len(everything)
        assert all(everything[tuple(row[:2])] == row for row in shown)


def test_order_baseline_and_metric(client: TestClient) -> None:
    def params(asked: str) -> list[str]:
        return [row[1] for row in rows_of(client.get(f"/leaderboard?{asked}").text)]

    assert params("sort=alpha") == ["α=0.05", "α=0.5", "α=5", ""]
    assert params("sort=-alpha") == ["α=5", "α=0.5", "α=0.05", ""]
    assert params("sort=-test/accuracy") == params("sort=test/accuracy")[::-1]
    page = client.get("/leaderboard?baseline=none").text
    assert "vs baseline" not in page
    page = client.get("/leaderboard?metric=validation/accuracy").text
    assert "validation/accuracy %" in page
    assert "test/accuracy %" not in page
    assert 'aria-sort="descending"' in client.get("/leaderboard?sort=test/accuracy").text


def many(groups: int) -> list[TrialRecord]:
    return [
        trial(n, "kd", n % 2, 0.5 + 0.0001 * n, params={"alpha": 1 + n // 2})
        for n in range(2 * groups)
    ]


def test_pages_have_every_row_once(opened: Open) -> None:
    client = opened(many(120))
    shown: list[str] = []
    for page in (1, 2, 3):
        text = client.get(f"/leaderboard?leaderboard-1.page={page}").text
        shown += [row[1] for row in rows_of(text)]
        assert f"{50 * page - 49}–" in text
    assert shown == [f"α={n}" for n in range(120, 0, -1)]
    last = client.get("/leaderboard?leaderboard-1.page=99").text
    assert rows_of(last) == rows_of(client.get("/leaderboard?leaderboard-1.page=3").text)
    assert rows_of(client.get("/leaderboard?leaderboard-1.page=-1").text)[0][1] == "α=120"


def test_exports_have_all_rows_and_full_precision(opened: Open) -> None:
    records = many(120)
    client = opened(records)
    groups = group_trials(records, baseline="ft", metrics=[METRIC])
    answer = client.get("/leaderboard?export=leaderboard-1.csv&leaderboard-1.page=2")
    assert answer.text == leaderboard(groups, metrics=[METRIC], format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="leaderboard-1.csv"'
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 121
    markdown = client.get("/leaderboard?export=leaderboard-1.md").text.splitlines()
    assert len(markdown) == 122
    assert markdown[2].startswith("| kd | α=120 | 2 | 52.3")
    latex = client.get("/leaderboard?export=leaderboard-1.tex").text
    assert latex.count(r"\\") == 121
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert latex.count(rule) == 1


def test_a_link_keeps_the_rest_of_the_view(client: TestClient) -> None:
    page = client.get("/leaderboard?user=anna&find=flexkd&sort=alpha&baseline=none").text
    links = [html.unescape(link) for link in re.findall(r'href="(/leaderboard[^"]*)"', page)]
    exports = [link for link in links if "export=" in link]
    assert len(exports) == 3
    for link in exports:
        for part in ("user=anna", "find=flexkd", "sort=alpha", "baseline=none"):
            assert part in link
    rows = client.get(exports[1]).text.splitlines()[2:]
    assert [row.split("|")[2].strip() for row in rows] == ["α=0.05", "α=0.5", "α=5"]
    assert '<option value="none" selected="">' in page
    assert 'name="user" value="anna" checked=""' in page
    assert '<input type="hidden" name="sort" value="alpha">' in page


def test_what_a_link_names_and_no_longer_exists_is_shown(client: TestClient) -> None:
    page = client.get("/leaderboard?user=carol").text
    assert "No finished trial matches" in page
    assert 'value="carol" checked=""' in page
