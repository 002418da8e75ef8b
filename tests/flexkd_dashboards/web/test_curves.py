"""Curves against settings, training curves, and the page of a search."""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from flexkd_dashboards.web import create_app
from flexkd_dashboards.web.parallel_figure import scale_of
from flexkd_platform.artifacts.training_log import write_log
from flexkd_platform.results import group_trials
from flexkd_platform.store import open_store
from flexkd_platform.tracking import StepMetrics, TrialRecord

from ...flexkd_platform.plain_steps import plain_step
from .conftest import MadeUp, trial, trials_of_a_job
from .test_leaderboard import rows_of

METRIC = "test/accuracy"


def figures_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="figure-data" type="application/json">(.*?)</script>', page)
    assert found
    return dict(json.loads(found[1])["figures"])


def lines_of(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The traces of means by their label in the key."""
    return {t["legendgroup"]: t for t in figure["data"] if "error_y" in t}


def test_points_and_bars_are_the_means_and_intervals_of_the_groups(client: TestClient) -> None:
    figure = figures_of(client.get("/curves").text)["curves-1"]
    line = lines_of(figure)["flexkd"]
    groups = group_trials(trials_of_a_job(), baseline=None, metrics=[METRIC])
    ours = sorted(
        (g for g in groups if g.method == "flexkd"), key=lambda g: float(str(g.params["alpha"]))
    )
    for place, group in enumerate(ours):
        mean, interval = 100 * group.metrics[METRIC].mean, group.interval(METRIC)
        assert interval is not None
        low, high = (100 * bound for bound in interval)
        assert line["y"][place] == pytest.approx(mean, rel=1e-5)
        assert line["y"][place] + line["error_y"]["array"][place] == pytest.approx(high, rel=1e-4)
        low_end = line["y"][place] - line["error_y"]["arrayminus"][place]
        assert low_end == pytest.approx(low, rel=1e-4)
    seeds = next(t for t in figure["data"] if t["mode"] == "markers")
    assert len(seeds["y"]) == 3 * 5
    level = next(t for t in figure["data"] if t["mode"] == "lines")
    ft = next(group for group in groups if group.method == "ft")
    assert level["y"] == pytest.approx([100 * ft.metrics[METRIC].mean] * 5, rel=1e-5)


def test_the_table_says_the_same_as_the_figure(client: TestClient) -> None:
    page = client.get("/curves").text
    rows = rows_of(page)
    assert [row[:2] for row in rows] == [
        ["flexkd", "0.05"],
        ["flexkd", "0.5"],
        ["flexkd", "5"],
        ["ft", "–"],
    ]
    exported = client.get("/curves?export=curves-1-table.csv").text.splitlines()
    assert len(exported) == 5


def test_any_number_is_an_axis(tmp_path: Path) -> None:
    records = [
        trial(n, "kd", n % 3, 0.5 + 0.01 * n, settings={"distill.epochs": 1 + n // 3})
        for n in range(9)
    ]
    client = TestClient(create_app(MadeUp(tmp_path, records)))
    page = client.get("/curves?x=epochs").text
    assert "against epochs" in page
    answer = client.get("/curves?x=epochz")
    assert answer.status_code == 400
    assert "did you mean &#x27;epochs&#x27;?" in answer.text
    assert client.get("/curves?metric=test/none").status_code == 400


def searched(count: int) -> list[TrialRecord]:
    """Points that differ in everything; α decides."""
    draw = random.Random(0)
    found = []
    for place in range(count):
        alpha = 10 ** draw.uniform(-3, 0)
        params = {"alpha": alpha, "pairing": draw.choice(["rank", "matched"])}
        quality = 0.8 + 0.05 * math.log10(alpha)
        found.append(trial(place, "flexkd", 1, quality, params=params))
    return found


def test_points_of_a_search_are_not_joined(tmp_path: Path) -> None:
    client = TestClient(create_app(MadeUp(tmp_path, searched(40))))
    figure = figures_of(client.get("/curves").text)["curves-1"]
    line = lines_of(figure)["flexkd pairing=matched"]
    assert line["mode"] == "lines+markers"  # two lines are left at each pairing
    records = [
        trial(500 + n, "kd", 1, 0.5, params={"alpha": 1 + n, "rate": n / 7}) for n in range(40)
    ]
    figure = figures_of(TestClient(create_app(MadeUp(tmp_path, records))).get("/curves").text)
    assert lines_of(figure["curves-1"])["kd"]["mode"] == "markers"


def test_a_search_in_parallel_coordinates(tmp_path: Path) -> None:
    client = TestClient(create_app(MadeUp(tmp_path, searched(40))))
    page = client.get("/search").text
    figures = figures_of(page)
    lines = [t for t in figures["parallel-1"]["data"] if t["mode"] == "lines+markers"]
    assert len(lines) == 40
    best = [t for t in lines if t["legendgroup"] == "best tenth"]
    others = [t for t in lines if t["legendgroup"] == "others"]
    assert len(best) == 4
    assert min(t["y"][-1] for t in best) >= max(t["y"][-1] for t in others)
    assert all(0 <= height <= 1 for t in lines for height in t["y"])
    bars = figures["importance-1"]["data"][0]["x"]
    assert sum(bars) == pytest.approx(100, abs=0.1)
    names = [row[0] for row in rows_of(page) if row[0] in {"α", "pairing"}]
    assert names == ["α", "pairing"]
    unknown = client.get("/search?method=flexdk")
    assert unknown.status_code == 400
    assert "did you mean &#x27;flexkd&#x27;?" in unknown.text


def test_a_method_without_settings_has_no_search(client: TestClient) -> None:
    assert "No setting of ft varies" in client.get("/search?method=ft").text


def test_scales_keep_the_order() -> None:
    numbers = scale_of("x", [3, 1, 2])
    assert numbers.heights == [1, 0, 0.5]
    wide = scale_of("x", [0.001, 0.1, 0.01])
    assert wide.heights == pytest.approx([0, 1, 0.5])
    assert wide.name == "x (log)"
    names = scale_of("x", ["b", "a", "c", True])
    assert len(set(names.heights)) == 4
    assert scale_of("x", [2, 2]).heights == [0, 0]


def test_training_curves_come_from_the_storage(tmp_path: Path) -> None:
    records = trials_of_a_job(seeds=(1, 2))
    store = open_store(str(tmp_path))
    for place, record in enumerate(records):
        if record.method != "ft":
            continue
        step = plain_step("distill", {"trial": place})
        with store.publish(step) as draft:
            log = [
                StepMetrics(1, {"train/loss": 0.9}),
                StepMetrics(2, {"train/loss": 0.5, "validation/accuracy": 0.7}),
            ]
            write_log(log, draft.folder / "log.parquet")
        records[place] = trial(place, "ft", record.seed, 0.7)
        object.__setattr__(records[place], "hash", step.hash)
    client = TestClient(create_app(MadeUp(tmp_path, records)))
    keys = {record.method: record.group[:16] for record in records}
    page = client.get(f"/curves?group={keys['ft']}").text
    figures = figures_of(page)
    thick = [t for t in figures["loss"]["data"] if t["opacity"] == 1.0]
    assert thick[0]["y"] == [0.9, 0.5]
    assert "validation" in figures
    missing = client.get(f"/curves?group={keys['flexkd']}").text
    assert "2 trials of 2 have no readable log in this storage" in missing
    assert "Choose groups above" in client.get("/curves").text
