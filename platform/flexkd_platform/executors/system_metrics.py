"""The use of the machine by a trial, under the names of MLflow's system metrics.

Sampled by the training itself between two optimiser steps: a thread would take a core from it, and
would have to be stopped with it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import psutil

from ..tracking import Progress

SECONDS = 10.0
"""Between two samples, as MLflow's; one takes about a millisecond."""
MEGABYTE = 1e6


def machine_use() -> dict[str, float]:
    """CPU (% since the last call in this process), memory and GPU memory in use, in MB and %.

    `process_memory` is that of this worker alone, everything else of the machine.
    """
    memory = psutil.virtual_memory()
    found = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": psutil.Process().memory_info().rss / MEGABYTE,
        **_gpu_memory(),
    }
    return {f"system/{name}": value for name, value in found.items()}


def observed(
    steps: Iterator[Progress],
    sample: Callable[[], Mapping[str, float]] = machine_use,
    seconds: float = SECONDS,
) -> Iterator[Progress]:
    """Add a sample to the first step after each interval, and to the last one."""
    sample()  # the CPU is measured from here
    last = time.monotonic()
    for progress in steps:
        now = time.monotonic()
        if now - last >= seconds or progress.done == progress.total:
            last = now
            progress = replace(progress, system=sample())
        yield progress


def _gpu_memory() -> dict[str, float]:
    """Of every GPU that this process uses; nothing if it has not started CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    found = {}
    for device in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(device)
        found[f"gpu_{device}_memory_usage_megabytes"] = (total - free) / MEGABYTE
        found[f"gpu_{device}_memory_usage_percentage"] = 100 * (total - free) / total
    return found
