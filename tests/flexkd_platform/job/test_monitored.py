"""What a job tells monitoring and MLflow beside its results: one job, run twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from flexkd_platform.executors import JobMetrics
from flexkd_platform.executors.inprocess import InProcessExecutor
from flexkd_platform.executors.job_metrics import METRICS, TRIALS, Metric
from flexkd_platform.executors.work import failure_of
from flexkd_platform.tracking import Progress

from .conftest import Shop

SPEC = """\
name: monitored
task: {kind: classification, data: {source: builtin, train: 24, validation: 8, test: 8}}
teacher:
  model: {config: {model_type: bert, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
                   intermediate_size: 32, max_position_embeddings: 66}, vocab_size: 400}
student: {init: {kind: random, layers: 1, hidden_size: 8}}
distill: {epochs: 1, batch_size: 8}
sweep: {methods: [{kind: kd, beta: 0.5}], seeds: [10, 20]}
resources: {teacher_cpus: 1}
"""


@dataclass
class Recording:
    """Keeps every value; key: name of the metric and its labels."""

    gauges: dict[tuple[str, ...], float] = field(default_factory=dict)
    counters: dict[tuple[str, ...], float] = field(default_factory=dict)
    running: list[float] = field(default_factory=list)  # values of the gauge of running trials

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        assert metric.kind == "gauge"
        assert tuple(labels) == metric.labels
        self.gauges[metric.name, *labels.values()] = value
        if metric is TRIALS and labels["state"] == "running":
            self.running.append(value)

    def add(self, metric: Metric, value: float, **labels: str) -> None:
        assert metric.kind == "counter"
        assert value > 0, "counters never decrease, and Ray refuses 0"
        assert tuple(labels) == metric.labels
        key = (metric.name, *labels.values())
        self.counters[key] = self.counters.get(key, 0) + value


@dataclass
class Ran:
    first: Recording
    second: Recording
    results: dict[str, Any]
    shop: Shop


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    recordings: list[Recording] = []

    def metrics(self: InProcessExecutor, job: str, user: str) -> JobMetrics:
        assert job.startswith("monitored-")
        assert user
        recordings.append(Recording())
        return JobMetrics(recordings[-1])

    shop = Shop(tmp_path_factory.mktemp("monitored"), SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InProcessExecutor, "metrics", metrics)
        results = shop.run()
        shop.run()
    return Ran(*recordings, results, shop)


def test_a_job_counts_its_trials_steps_examples_and_tokens(ran: Ran) -> None:
    found = ran.first
    assert found.gauges == {
        ("flexkd_trials", "running"): 0,
        ("flexkd_trials", "done"): 2,
        ("flexkd_trials", "reused"): 0,
        ("flexkd_trials", "failed"): 0,
        ("flexkd_trials", "pruned"): 0,
    }
    assert max(found.running) == 1, "one at a time"
    steps = {key[1:]: n for key, n in found.counters.items() if key[0] == "flexkd_steps_total"}
    assert steps["distill", "ran"] == steps["evaluate", "ran"] == 2
    assert steps["teacher", "ran"] == 1
    assert {status for _, status in steps} == {"ran"}
    assert found.counters["flexkd_examples_total", "distill"] == 2 * 24
    tokens = found.counters["flexkd_tokens_total", "distill"]
    assert 2 * 24 < tokens <= 2 * 24 * 64
    seconds = {e["kind"]: e["seconds"] for e in ran.results["steps"] if e["kind"] == "teacher"}
    counted = found.counters["flexkd_step_seconds_total", "teacher"]
    assert counted == pytest.approx(seconds["teacher"], abs=0.01)


def test_a_job_that_runs_again_hits_the_cache_alone(ran: Ran) -> None:
    found = ran.second
    assert found.gauges["flexkd_trials", "reused"] == 2
    assert found.gauges["flexkd_trials", "done"] == 0
    steps = {key[2]: key[0] for key in found.counters if key[0] == "flexkd_steps_total"}
    assert set(steps) == {"reused"}
    assert {key[0] for key in found.counters} == {"flexkd_steps_total"}


def test_a_loss_that_is_not_finite_is_counted_and_other_failures_are_not() -> None:
    recording = Recording()
    metrics = JobMetrics(recording)
    metrics.trial("a", "running")
    try:
        raise FloatingPointError("the loss is nan at step 3 of 9")
    except FloatingPointError as error:
        metrics.failed(failure_of(error).detail)
    metrics.failed(failure_of(ValueError("too few rows")).detail)
    metrics.failed("")
    assert recording.counters == {("flexkd_losses_not_finite_total",): 1}
    metrics.ended()
    assert recording.gauges["flexkd_trials", "running"] == 0


def test_without_a_cluster_nothing_is_recorded() -> None:
    metrics = JobMetrics()
    metrics.trial("a", "running")
    metrics.advanced("distill", [Progress(1, 2, 3)])
    metrics.step("s", "distill", "ran", 1.0)
    metrics.ended()


def test_ray_takes_every_metric() -> None:
    """The names, kinds and labels are those that Ray's classes accept; no cluster is needed."""
    from flexkd_platform.executors.ray_metrics import RayRecording

    recording = RayRecording("job-1", "ada")
    for metric in METRICS:
        labels = dict.fromkeys(metric.labels, "x")
        if metric.kind == "gauge":
            recording.set(metric, 0, **labels)
        else:
            assert metric.name.endswith("_total"), "Prometheus expects it of counters"
            recording.add(metric, 1, **labels)


def test_trials_are_recorded_with_data_sizes_and_the_use_of_the_machine(ran: Ran) -> None:
    trials = [run for run in ran.shop.tracker.runs if run.tags["flexkd.kind"] == "trial"]
    assert len(trials) == 2
    sizes = {trial["hash"]: trial["parameters"] for trial in ran.results["trials"]}
    for run in trials:
        latest = {point.key: point.value for point in run.points}
        assert latest["teacher/parameters"] == ran.results["teacher"]["parameters"]
        assert latest["student/parameters"] == sizes[run.tags["flexkd.hash"]]
        assert latest["system/process_memory_usage_megabytes"] > 0
        (dataset,) = run.datasets.values()
        assert dataset.sizes == {"train": 24, "validation": 8, "test": 8}
        assert run.tags["flexkd.group_name"] == "kd β=0.5"
        assert "24 train" in run.tags["mlflow.note.content"]
        assert "system/" not in run.tags["flexkd.metrics"]
    assert not any("system" in name for name in ran.results["trials"][0]["metrics"])


def test_results_say_who_when_and_on_what(ran: Ran) -> None:
    assert ran.results["datasets"] == {"movie-reviews": {"train": 24, "validation": 8, "test": 8}}
    job = ran.results["job"]
    assert job["user"]
    assert job["began"].endswith("+00:00")
    assert job["tracking"] is None, "memory has no page"


def test_one_variable_turns_system_metrics_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from flexkd_platform.tracking import logs_system_metrics

    assert logs_system_metrics()
    for off in ("false", "False", "0"):
        monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", off)
        assert not logs_system_metrics()
