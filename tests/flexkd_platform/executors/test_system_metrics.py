"""The use of the machine by a trial, without a thread and without a clock."""

from __future__ import annotations

import math
import threading

from flexkd_platform.executors.system_metrics import machine_use, observed
from flexkd_platform.tracking import Progress

STEPS = [Progress(done, 4) for done in range(1, 5)]


def test_the_last_step_always_has_a_sample_and_the_others_only_after_an_interval() -> None:
    found = list(observed(iter(STEPS), lambda: {"system/x": 1.0}, seconds=math.inf))
    assert [dict(each.system) for each in found] == [{}, {}, {}, {"system/x": 1.0}]
    found = list(observed(iter(STEPS), lambda: {"system/x": 1.0}, seconds=0.0))
    assert all(each.system for each in found)
    assert [each.done for each in found] == [1, 2, 3, 4]


def test_a_sample_has_the_names_of_mlflow_and_starts_no_thread() -> None:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor

    threads = threading.active_count()
    ours = machine_use()
    assert threading.active_count() == threads
    monitor = CPUMonitor()  # type: ignore[no-untyped-call]
    monitor.collect_metrics()
    theirs = {f"system/{name}" for name in monitor.aggregate_metrics()}
    assert theirs <= ours.keys()
    assert all(value >= 0 for value in ours.values())
    assert 0 < ours["system/system_memory_usage_percentage"] <= 100
