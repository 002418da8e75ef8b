"""The number and size of the worker pods of a job on Kubernetes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..spec import Resources


@dataclass(frozen=True)
class WorkerPods:
    """Pods of one size: CPUs and GPUs of each, and their minimum and maximum number."""

    cpus: int
    gpus: int
    least: int
    most: int

    @property
    def elastic(self) -> bool:
        """Whether the number of pods is autoscaled."""
        return self.least < self.most


def worker_pods(resources: Resources) -> WorkerPods:
    """The pods for a job's `resources`.

    A pod runs one worker of a trial, or as many as share its GPU, and is large enough for the
    teacher. There are enough pods for all concurrent trials; with `max_concurrent_trials: auto`,
    where the number of trials depends on the cluster, there are enough for one trial.
    """
    gpus = max(math.ceil(resources.trial_gpus), math.ceil(resources.gpus_of_teacher))
    sharing = _fitting(gpus, resources.trial_gpus) if 0 < resources.trial_gpus < 1 else 1
    cpus = max(resources.teacher_cpus, resources.trial_cpus * sharing)
    in_a_pod = min(cpus // resources.trial_cpus, _fitting(gpus, resources.trial_gpus, without=cpus))
    scoring = min(cpus, _fitting(gpus, resources.gpus_of_teacher, without=cpus))
    wanted = resources.max_concurrent_trials
    trials = 1 if wanted == "auto" else wanted
    least = max(
        math.ceil(trials * resources.least_workers / in_a_pod),
        math.ceil(resources.score_workers / scoring),
    )
    most = max(least, math.ceil(trials * resources.most_workers / in_a_pod))
    return WorkerPods(cpus, gpus, least, most)


def _fitting(gpus: int, each: float, without: int = 0) -> int:
    """How many requests of `each` fit in whole GPUs; `without` if no GPU is requested."""
    # Ray counts in ten-thousandths of a GPU: three requests of 0.3333 fit on one.
    return max(1, round(gpus * 10_000) // round(each * 10_000)) if each else without
