"""Whether work fits on the nodes of a cluster in addition to the running work.

Ray decides where a worker actually runs. This check only avoids submitting work that would wait
in Ray's queue, where work of higher priority could not overtake it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..cluster import Capacity, Node
from ..spec import Resources
from .work import PassWork, StepWork, Work

TOLERANCE = 1e-9
"""GPU fractions are floats: ten times 0.1 must fill one GPU."""


@dataclass(frozen=True)
class Demand:
    """Workers of equal size.

    flexible: whether the work can start with fewer workers, and add others as nodes become free.
    """

    workers: int
    cpus: float
    gpus: float
    flexible: bool = False


def demand_of(work: Work, resources: Resources) -> Demand:
    """The resources that the work reserves. A step that runs in the driver reserves nothing."""
    if isinstance(work, StepWork):
        workers = int(work.step.config.kind.runs_on != "driver")
        return Demand(workers, resources.teacher_cpus, resources.gpus_of_teacher)
    if isinstance(work, PassWork):
        return Demand(resources.score_workers, 1, resources.gpus_of_teacher, flexible=True)
    return Demand(resources.least_workers, resources.trial_cpus, resources.trial_gpus)


def fits(new: Demand, running: Iterable[Demand], capacity: Capacity) -> bool:
    """Whether all workers of `new` fit, or one of them if it is flexible."""
    nodes = [_FreeNode(node) for node in capacity.nodes]
    for demand in running:
        for _ in range(demand.workers):
            _place(demand, nodes)
    wanted = min(1, new.workers) if new.flexible else new.workers
    return all(_place(new, nodes) for _ in range(wanted))


def _place(demand: Demand, nodes: Iterable[_FreeNode]) -> bool:
    """Reserve one worker on the first node with room; False if there is none."""
    return any(node.place(demand.cpus, demand.gpus) for node in nodes)


class _FreeNode:
    """The unreserved resources of a node: CPUs, and the free fraction of each GPU."""

    def __init__(self, node: Node) -> None:
        self._cpus = node.cpus
        self._gpus = [1.0] * int(node.gpus)

    def place(self, cpus: float, gpus: float) -> bool:
        """Reserve a worker if there is room; returns whether it was reserved."""
        share, count = (gpus, 1) if 0 < gpus < 1 else (1.0, int(gpus))
        chosen = [i for i, free in enumerate(self._gpus) if free >= share - TOLERANCE][:count]
        if self._cpus < cpus - TOLERANCE or len(chosen) < count:
            return False
        self._cpus -= cpus
        for index in chosen:
            self._gpus[index] -= share
        return True
