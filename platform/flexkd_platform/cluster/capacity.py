"""The resources of each node of a cluster, and whether a job's requests fit them.

A worker runs on one node: two nodes with one CPU each cannot run a worker of two CPUs. The workers
of one trial may run on several nodes; Ray reserves the resources of all of them or of none.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..spec import Problem, Resources

SMALLEST_SHARE = 1e-4
"""Ray counts resources in ten-thousandths; a smaller fraction of a GPU would be rounded to none."""


@dataclass(frozen=True)
class Node:
    """CPUs and GPUs of one node. A head node that runs no work has 0 of both."""

    cpus: float
    gpus: float = 0.0

    def workers(self, cpus: float, gpus: float) -> int:
        """The number of workers with these CPUs and GPUs that can run here concurrently.

        Workers that use a fraction of a GPU share one; no such worker is spread over two GPUs.
        """
        fitting = _times(self.cpus, cpus)
        if gpus == 0:
            return fitting
        whole = math.floor(self.gpus)
        return min(fitting, whole * _times(1, gpus) if gpus < 1 else _times(whole, gpus))


@dataclass(frozen=True)
class Capacity:
    """The nodes of a cluster, or this machine."""

    nodes: tuple[Node, ...]

    @classmethod
    def of_machine(cls) -> Capacity:
        """This machine's CPUs, and the GPUs that are visible to torch."""
        return cls((Node(float(os.cpu_count() or 1), float(_gpus_of_machine())),))

    @property
    def cpus(self) -> float:
        """CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)

    def workers(self, cpus: float, gpus: float) -> int:
        """The number of workers with these CPUs and GPUs that can run concurrently."""
        return sum(node.workers(cpus, gpus) for node in self.nodes)


def _gpus_of_machine() -> int:
    """The number of GPUs that are visible to torch. Importing torch takes seconds, so it is skipped
    on Linux if there is no device file of a GPU (NVIDIA, WSL, AMD).
    """
    devices = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
    if sys.platform == "linux" and not any(Path(device).exists() for device in devices):
        return 0
    import torch

    return int(torch.cuda.device_count())


def fitting_trials(resources: Resources, capacity: Capacity) -> int:
    """The number of concurrent trials: as many as fit, or as the spec allows; at least one.

    The count is exact, since all workers have the same size.
    """
    workers = capacity.workers(resources.trial_cpus, resources.trial_gpus)
    fitting = workers // resources.least_workers
    wanted = resources.max_concurrent_trials
    return max(1, fitting if wanted == "auto" else min(fitting, wanted))


def resource_problems(resources: Resources, capacity: Capacity) -> list[Problem]:
    """The requests of a job that can never be scheduled, each with a remedy."""
    return [
        *_worker_problems("trial", resources.trial_cpus, resources.trial_gpus, capacity),
        *_worker_problems(
            "teacher",
            resources.teacher_cpus,
            resources.gpus_of_teacher,
            capacity,
            inherited=resources.teacher_gpus is None,
        ),
        *_count_problems(resources, capacity),
    ]


def _worker_problems(
    what: str, cpus: float, gpus: float, capacity: Capacity, inherited: bool = False
) -> Iterator[Problem]:
    """Why one worker fits on no node. inherited: problems of its GPUs are reported elsewhere."""
    cpu_path, gpu_path = f"resources.{what}_cpus", f"resources.{what}_gpus"
    most_cpus = max((node.cpus for node in capacity.nodes), default=0.0)
    most_gpus = max((math.floor(node.gpus) for node in capacity.nodes), default=0)
    countable = _countable(gpus)
    if cpus > most_cpus:
        yield _too_many(cpu_path, cpus, "CPUs", most_cpus)
    if not countable and not inherited:
        remedy = (
            f"--set {gpu_path}={max(1, math.floor(gpus))}, or a fraction of one GPU, such as 0.5"
        )
        yield Problem(
            gpu_path,
            f"{gpus:g} requested, but a worker takes whole GPUs or a fraction of one",
            remedy,
        )
    elif gpus > most_gpus and not inherited:
        yield _too_many(gpu_path, gpus, "GPUs", most_gpus)
    fits = countable and cpus <= most_cpus and gpus <= most_gpus
    if fits and not capacity.workers(cpus, gpus):
        beside = max(node.cpus for node in capacity.nodes if node.gpus >= gpus)
        yield Problem(
            cpu_path,
            f"{cpus:g} CPUs and {gpus:g} GPUs requested together, but nodes with that many "
            f"GPUs have at most {beside:g} CPUs",
            f"--set {cpu_path}={math.floor(beside)}" if beside >= 1 else f"--set {gpu_path}=0",
        )


def _too_many(path: str, wanted: float, unit: str, there: float) -> Problem:
    """A request larger than every node. A worker needs at least one CPU, but no GPU."""
    if there >= 1 or unit == "GPUs":
        remedy = f"--set {path}={math.floor(there)}, or add a larger node"
    else:
        remedy = f"add a node with {wanted:g} CPU{'s' if wanted > 1 else ''}"
    return Problem(path, f"{wanted:g} requested, but the largest node has {there:g} {unit}", remedy)


def _count_problems(resources: Resources, capacity: Capacity) -> Iterator[Problem]:
    """Why the workers can never run concurrently although each of them fits on a node."""
    wanted, gpus = resources.score_workers, resources.gpus_of_teacher
    fitting = capacity.workers(1, gpus) if _countable(gpus) else 0
    if wanted > fitting > 0:
        yield Problem(
            "resources.score_workers",
            f"{wanted} actors of {_asked(1, gpus)} requested, but only {_fit(fitting)} "
            f"{_on(capacity)}",
            f"--set resources.score_workers={fitting}",
        )
    wanted, gpus = resources.least_workers, resources.trial_gpus
    if resources.most_workers > 1 and 0 < gpus < 1:
        yield Problem(
            "resources.trial_workers",
            f"{resources.most_workers} workers of {gpus:g} GPU each requested, but NCCL does not "
            "support two workers of one trial on one GPU",
            "--set resources.trial_workers=1, or give each a whole GPU with "
            "--set resources.trial_gpus=1",
        )
        return
    fitting = capacity.workers(resources.trial_cpus, gpus) if _countable(gpus) else 0
    if wanted > fitting > 0:
        elastic = not isinstance(resources.trial_workers, int)
        path = f"resources.trial_workers{'.min' if elastic else ''}"
        yield Problem(
            path,
            f"{wanted} workers of {_asked(resources.trial_cpus, gpus)} requested, but only "
            f"{_fit(fitting)} {_on(capacity)}",
            f"--set {path}={fitting}, or lower resources.trial_cpus or resources.trial_gpus",
        )


def _countable(gpus: float) -> bool:
    """Whether Ray can allocate this many GPUs: a whole number, or a fraction of one."""
    return gpus == 0 or SMALLEST_SHARE <= gpus <= 1 or gpus == int(gpus)


def _asked(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'s' if cpus > 1 else ''}" + (f" and {gpus:g} GPU" if gpus else "")


def _fit(count: int) -> str:
    return f"{count} fit{'s' if count == 1 else ''}"


def _on(capacity: Capacity) -> str:
    """Describe the nodes: `on nodes of 8 CPUs, 4 CPUs and 2 GPUs`."""
    nodes = [
        f"{node.cpus:g} CPUs" + (f" and {node.gpus:g} GPUs" if node.gpus else "")
        for node in capacity.nodes
    ]
    return f"on {'a node' if len(nodes) == 1 else 'nodes'} of {', '.join(nodes)}"


def _times(there: float, each: float) -> int:
    """How often `each` fits in `there`; 0.1 fits in 1 ten times, despite floating-point error."""
    return math.floor(there / each + 1e-9)
