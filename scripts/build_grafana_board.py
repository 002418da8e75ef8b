"""Write dashboards/grafana/flexkd.json, the Grafana dashboard of a cluster, from the table below.

    python scripts/build_grafana_board.py

Metrics that begin with `ray_flexkd_` are of jobs, from `executors/job_metrics.py`. The others are
Ray's own and have the same names as in Ray's dashboards.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BOARD = Path(__file__).parents[1] / "dashboards" / "grafana" / "flexkd.json"
COLUMNS, WIDTH, HEIGHT = 24, 8, 8
SOURCE = {"type": "prometheus", "uid": "prometheus"}


@dataclass(frozen=True)
class Panel:
    """A graph: PromQL queries with their legends, the unit (Grafana's name) and a description."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    says: str


def _and(selector: str, label: str, value: str) -> str:
    """A selector with one more label."""
    return f'{selector[:-1]},{label}="{value}"}}'


OURS = '{flexkd_job=~"$job",user=~"$user"}'
"""What selects the jobs and users that are chosen at the top."""

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Experiments",
        (
            Panel(
                "Trials",
                "short",
                (
                    (
                        f"max by (flexkd_job, user, state) (ray_flexkd_trials{OURS})",
                        "{{flexkd_job}} {{state}}",
                    ),
                ),
                "Trials of each job that run, or have ended; `reused` ones were in the storage.",
            ),
            Panel(
                "Examples",
                "short",
                (
                    (
                        "sum by (flexkd_job, user, kind)"
                        f" (rate(ray_flexkd_examples_total{OURS}[$__rate_interval]))",
                        "{{flexkd_job}} {{kind}}",
                    ),
                ),
                "Examples per second that models process, by kind of step.",
            ),
            Panel(
                "Tokens",
                "short",
                (
                    (
                        "sum by (flexkd_job, user, kind)"
                        f" (rate(ray_flexkd_tokens_total{OURS}[$__rate_interval]))",
                        "{{flexkd_job}} {{kind}}",
                    ),
                ),
                "Tokens per second that teachers and students are trained on, without padding.",
            ),
            Panel(
                "Cache hits",
                "percentunit",
                (
                    (
                        "sum by (flexkd_job, user)"
                        f" (ray_flexkd_steps_total{_and(OURS, 'status', 'reused')})"
                        f" / sum by (flexkd_job, user) (ray_flexkd_steps_total{OURS})",
                        "{{flexkd_job}}",
                    ),
                ),
                "Share of the steps of a job that were in the storage; empty if none was.",
            ),
            Panel(
                "Seconds of steps",
                "s",
                (
                    (
                        f"sum by (flexkd_job, user, kind) (ray_flexkd_step_seconds_total{OURS})",
                        "{{flexkd_job}} {{kind}}",
                    ),
                ),
                "In all, of the steps that ran.",
            ),
            Panel(
                "Failures",
                "short",
                (
                    (
                        "max by (flexkd_job, user)"
                        f" (ray_flexkd_trials{_and(OURS, 'state', 'failed')})",
                        "{{flexkd_job}} failed trials",
                    ),
                    (
                        f"sum by (flexkd_job, user) (ray_flexkd_losses_not_finite_total{OURS})",
                        "{{flexkd_job}} losses not finite",
                    ),
                ),
                "The alerts FlexkdTrialsFailed and FlexkdLossNotFinite are about these.",
            ),
        ),
    ),
    (
        "Nodes",
        (
            Panel(
                "CPU",
                "percent",
                (
                    (
                        'avg by (instance) (ray_node_cpu_utilization{instance=~"$node"})',
                        "{{instance}}",
                    ),
                ),
                "Busy share of each node's CPUs.",
            ),
            Panel(
                "Memory",
                "percentunit",
                (
                    (
                        'max by (instance) (ray_node_mem_used{instance=~"$node"})'
                        ' / max by (instance) (ray_node_mem_total{instance=~"$node"})',
                        "{{instance}}",
                    ),
                ),
                "Ray kills workers above 95 %.",
            ),
            Panel(
                "GPU",
                "percent",
                (
                    (
                        "avg by (instance, GpuIndex)"
                        ' (ray_node_gpus_utilization{instance=~"$node"})',
                        "{{instance}} gpu {{GpuIndex}}",
                    ),
                ),
                "Busy share of each GPU; empty on nodes without one.",
            ),
            Panel(
                "GPU memory",
                "decmbytes",
                (
                    (
                        'sum by (instance, GpuIndex) (ray_node_gram_used{instance=~"$node"})',
                        "{{instance}} gpu {{GpuIndex}}",
                    ),
                ),
                "GPU memory of teachers and students.",
            ),
            Panel(
                "Network",
                "Bps",
                (
                    ('sum(ray_node_network_receive_speed{instance=~"$node"})', "received"),
                    ('sum(ray_node_network_send_speed{instance=~"$node"})', "sent"),
                ),
                "Gradients of several workers, objects between nodes, files of the storage.",
            ),
            Panel(
                "Disk",
                "percentunit",
                (
                    (
                        'max by (instance) (ray_node_disk_usage{instance=~"$node"})'
                        ' / (max by (instance) (ray_node_disk_usage{instance=~"$node"})'
                        ' + max by (instance) (ray_node_disk_free{instance=~"$node"}))',
                        "{{instance}}",
                    ),
                ),
                "Ray stops spilling objects above 95 %.",
            ),
        ),
    ),
    (
        "Jobs",
        (
            Panel(
                "CPUs promised",
                "short",
                (
                    ('sum(ray_resources{Name="CPU",State="USED"})', "in use"),
                    ('sum(ray_resources{Name="CPU"})', "all"),
                ),
                "Reserved by trials and scoring, whether they compute or wait.",
            ),
            Panel(
                "GPUs promised",
                "short",
                (
                    ('sum(ray_resources{Name="GPU",State="USED"})', "in use"),
                    ('sum(ray_resources{Name="GPU"})', "all"),
                ),
                "Fractions of GPUs included.",
            ),
            Panel(
                "Actors",
                "short",
                (('sum by (State) (ray_actors{State!="DEAD"})', "{{State}}"),),
                "Trials, training workers and scorers; pending ones wait for resources.",
            ),
            Panel(
                "Tasks",
                "short",
                (('sum by (State) (ray_tasks{State!~"FINISHED|FAILED"})', "{{State}}"),),
                "Teachers' trainings and chunks that run or wait.",
            ),
            Panel(
                "Object store",
                "bytes",
                (("sum by (Location) (ray_object_store_memory)", "{{Location}}"),),
                "SPILLED: it did not fit the memory.",
            ),
            Panel(
                "Workers lost",
                "short",
                (
                    ("sum(ray_memory_manager_worker_eviction_total)", "out of memory"),
                    ("sum(ray_node_manager_unexpected_worker_failure_total)", "died"),
                ),
                "Lost trials are tried again, from their last checkpoint.",
            ),
        ),
    ),
    (
        "Scoring and caching (Ray Data)",
        (
            Panel(
                "Chunks done",
                "rowsps",
                (
                    (
                        "sum by (operator) (rate(ray_data_output_rows[$__rate_interval]))",
                        "{{operator}}",
                    ),
                ),
                "A row is a chunk of training examples.",
            ),
            Panel(
                "Tasks running",
                "short",
                (("sum by (operator) (ray_data_num_tasks_running)", "{{operator}}"),),
                "At most `score_workers`.",
            ),
            Panel(
                "Held back",
                "s",
                (
                    (
                        "sum by (operator)"
                        " (rate(ray_data_task_submission_backpressure_time[$__rate_interval]))",
                        "{{operator}}",
                    ),
                ),
                "Seconds per second without submissions, for lack of room.",
            ),
        ),
    ),
    (
        "Trials of several workers (Ray Train)",
        (
            Panel(
                "State",
                "short",
                (
                    (
                        "sum by (ray_train_run_name, ray_train_controller_state)"
                        " (ray_train_controller_state)",
                        "{{ray_train_run_name}} {{ray_train_controller_state}}",
                    ),
                ),
                "SCHEDULING for long: no room for the workers.",
            ),
            Panel(
                "Starting and resizing",
                "s",
                (
                    (
                        "sum by (ray_train_run_name) (ray_train_worker_group_start_total_time_s)",
                        "{{ray_train_run_name}}",
                    ),
                ),
                "Seconds in all; an elastic trial restarts its workers when nodes join or leave.",
            ),
            Panel(
                "Reporting and checkpoints",
                "s",
                (
                    (
                        "sum by (ray_train_run_name) (ray_train_report_total_blocked_time_s)",
                        "{{ray_train_run_name}} reports",
                    ),
                    (
                        "sum by (ray_train_run_name) (ray_train_checkpoint_transfer_total_time_s)",
                        "{{ray_train_run_name}} uploads",
                    ),
                ),
                "Seconds in all that training waited.",
            ),
        ),
    ),
)


def board() -> dict[str, Any]:
    """The dashboard as JSON for Grafana's provisioning."""
    panels: list[dict[str, Any]] = [_alerts()]
    top = HEIGHT // 2
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
                "panels": [],
            }
        )
        top += 1
        for place, panel in enumerate(row):
            across, down = place % (COLUMNS // WIDTH), place // (COLUMNS // WIDTH)
            position = {"x": across * WIDTH, "y": top + down * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_graph(panel, len(panels) + 1, position))
        top += -(-len(row) // (COLUMNS // WIDTH)) * HEIGHT
    return {
        "uid": "flexkd",
        "title": "flexkd on Ray",
        "tags": ["flexkd", "ray"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_jobs(), _users(), _nodes()]},
        "panels": panels,
    }


def _alerts() -> dict[str, Any]:
    """The alerts of docker/prometheus/alerts.yaml that fire."""
    return {
        "id": 1,
        "type": "alertlist",
        "title": "Alerts",
        "description": "Of the rules in docker/prometheus/alerts.yaml; empty if none fires.",
        "datasource": SOURCE,
        "gridPos": {"x": 0, "y": 0, "w": COLUMNS, "h": HEIGHT // 2},
        "options": {
            "viewMode": "list",
            "groupMode": "default",
            "datasource": "Prometheus",
            "stateFilter": {"firing": True, "pending": True},
        },
    }


def _graph(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def _jobs() -> dict[str, Any]:
    """The job selector at the top of the dashboard."""
    return _variable("job", "Job", "label_values(ray_flexkd_trials, flexkd_job)")


def _users() -> dict[str, Any]:
    """The user selector."""
    return _variable("user", "User", "label_values(ray_flexkd_trials, user)")


def _nodes() -> dict[str, Any]:
    """The node selector."""
    return _variable("node", "Node", "label_values(ray_node_cpu_utilization, instance)")


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": query,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "refresh": 2,
    }


def main() -> None:
    """Write the dashboard."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", type=Path, default=BOARD, help="the JSON file to write")
    target = parser.parse_args().target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(board(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
