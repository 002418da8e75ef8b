"""Metrics of a job in Ray, whose nodes export them to Prometheus."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge

from .job_metrics import METRICS, Metric

KEYS = ("flexkd_job", "user")
"""Labels of every metric. `job` is Prometheus's own name for what it scrapes."""


class RayRecording:
    """Records metrics of one job in the cluster that this process has joined."""

    def __init__(self, job: str, user: str) -> None:
        self._labels = dict(zip(KEYS, (job, user), strict=True))
        self._gauges: dict[Metric, Gauge] = {}
        self._counters: dict[Metric, Counter] = {}
        for metric in METRICS:
            keys = (*KEYS, *metric.labels)
            if metric.kind == "gauge":
                self._gauges[metric] = Gauge(metric.name, metric.description, keys)
            else:
                self._counters[metric] = Counter(metric.name, metric.description, keys)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[metric].set(value, {**self._labels, **labels})

    def add(self, metric: Metric, value: float, **labels: str) -> None:
        """Increase a counter."""
        self._counters[metric].inc(value, {**self._labels, **labels})
