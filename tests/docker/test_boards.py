"""The Grafana board: written by its script, of metrics that Ray has."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import yaml

from flexkd_platform.executors.job_metrics import METRICS

from .boards import ALERTS, alerts, boards, metrics, queries
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


def test_every_metric_is_ours_or_one_that_rays_own_boards_ask_for() -> None:
    known = "".join(path.read_text(encoding="utf-8") for path in RAY_BOARDS.glob("*_panels.py"))
    asked = {name for query in queries() for name in metrics(query)}
    alerted = {name for query in alerts().values() for name in metrics(query)}
    assert alerted <= asked, "whoever is alerted can see it on the board"
    assert len(asked) >= 15
    ours = {f"ray_{metric.name}" for metric in METRICS}
    assert ours <= asked, "the board shows every metric of jobs"
    missing = {name for name in asked - ours if not re.search(rf"\b{name}\b", known)}
    assert missing == set()


RULES = """\
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'ray_flexkd_trials{{flexkd_job="a",user="ada",state="failed",WorkerId="1"}}',
          values: '0x5 1x60'}}
      - {{series: 'ray_flexkd_losses_not_finite_total{{flexkd_job="a",user="ada"}}',
          values: '0x5 1x60'}}
      - {{series: 'ray_flexkd_losses_not_finite_total{{flexkd_job="ended",user="ada"}}',
          values: '1x66'}}
      - {{series: 'ray_flexkd_trials{{flexkd_job="b",user="bob",state="running"}}', values: '2x66'}}
      - {{series: 'ray_flexkd_examples_total{{flexkd_job="b",user="bob",kind="distill"}}',
          values: '0+8x10 80x60'}}
      - {{series: 'ray_flexkd_trials{{flexkd_job="c",user="cy",state="running"}}', values: '2x66'}}
      - {{series: 'ray_flexkd_examples_total{{flexkd_job="c",user="cy",kind="distill"}}',
          values: '0+8x66'}}
      - {{series: 'ray_node_disk_usage{{instance="n1"}}', values: '97x66'}}
      - {{series: 'ray_node_disk_free{{instance="n1"}}', values: '3x66'}}
      - {{series: 'ray_node_mem_used{{instance="n1"}}', values: '90x66'}}
      - {{series: 'ray_node_mem_total{{instance="n1"}}', values: '100x66'}}
    promql_expr_test:
      - expr: ALERTS{{alertstate="firing"}}
        eval_time: 4m
        exp_samples: []
      - expr: count by (alertname, flexkd_job, instance) (ALERTS{{alertstate="firing"}})
        eval_time: 60m
        exp_samples:
          - {{labels: '{{alertname="FlexkdTrialsFailed", flexkd_job="a"}}', value: 1}}
          - {{labels: '{{alertname="FlexkdLossNotFinite", flexkd_job="a"}}', value: 1}}
          - {{labels: '{{alertname="FlexkdJobStalled", flexkd_job="b"}}', value: 1}}
          - {{labels: '{{alertname="RayDiskFull", instance="n1"}}', value: 1}}
"""
"""Job a fails after five minutes, b stalls after ten, c is well; a disk is full, no memory is."""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES.format(rules=ALERTS), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_what_and_whose_and_the_board_lists_them() -> None:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= rule["annotations"].keys()
    assert len(alerts()) >= 6
    (board,) = boards()
    assert [panel["title"] for panel in board["panels"] if panel["type"] == "alertlist"] == [
        "Alerts"
    ]
    mounted = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    assert "./prometheus/alerts.yaml:/etc/prometheus/alerts.yaml:ro" in mounted


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
