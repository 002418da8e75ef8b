"""The Grafana board: written by its script, of metrics that Ray has."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import ray
import yaml

from .boards import boards, metrics, queries
from .conftest import BOARDS, DOCKER, ROOT

RAY_BOARDS = Path(ray.__file__).parent / "dashboard" / "modules" / "metrics" / "dashboards"


def test_the_board_is_what_its_script_writes() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "build_grafana_board.py"))
    assert boards() == [script["board"]()], "run scripts/build_grafana_board.py"
    assert script["BOARD"] == BOARDS / "flexkd.json"


def test_the_script_writes_where_it_is_told(tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "scripts" / "build_grafana_board.py")]
    before = (BOARDS / "flexkd.json").stat().st_mtime_ns
    helped = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True)
    assert "--target" in helped.stdout
    target = tmp_path / "new" / "board.json"
    subprocess.run([*script, "--target", str(target)], capture_output=True, check=True)
    assert target.read_bytes() == (BOARDS / "flexkd.json").read_bytes()
    assert (BOARDS / "flexkd.json").stat().st_mtime_ns == before, "neither wrote the board"


def test_every_metric_is_one_that_rays_own_boards_ask_for() -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in RAY_BOARDS.glob("*_panels.py"))
    asked = {name for query in queries() for name in metrics(query)}
    assert len(asked) >= 15
    missing = {name for name in asked if not re.search(rf"\b{name}\b", known)}
    assert missing == set()


def test_metrics_are_told_from_labels_and_functions() -> None:
    query = (
        'sum by (ray_train_run_name) (rate(ray_data_output_rows{State="ray_x"}[1m])) / ray_tasks'
    )
    assert metrics(query) == {"ray_data_output_rows", "ray_tasks"}


def test_panels_do_not_overlap_and_have_a_number_each() -> None:
    (board,) = boards()
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_every_query_goes_to_the_source_that_is_provisioned() -> None:
    path = DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yaml"
    (source,) = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    (board,) = boards()
    used = {p["datasource"]["uid"] for p in board["panels"] if p["type"] != "row"}
    assert used == {source["uid"]}
