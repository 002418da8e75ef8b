"""Executors run steps, scoring passes and trials, in this process or on a Ray cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from ..spec import Resources
from ..store import Store
from .early_stopping import Halving, RungScores, scores_of, stopping_problems
from .executor import Executor, Handle
from .job_metrics import JobMetrics
from .work import (
    Advanced,
    Broken,
    Ended,
    Event,
    OnEvent,
    PassWork,
    Pruned,
    Started,
    StepError,
    StepWork,
    TrialWork,
    Work,
)

__all__ = [
    "Advanced",
    "Broken",
    "Ended",
    "Event",
    "Executor",
    "Halving",
    "Handle",
    "JobMetrics",
    "OnEvent",
    "PassWork",
    "Pruned",
    "RungScores",
    "Started",
    "StepError",
    "StepWork",
    "TrialWork",
    "Work",
    "open_executor",
    "scores_of",
    "stopping_problems",
]


def open_executor(
    address: str, store: Store, resources: Resources, log_file: Path | None = None
) -> Executor:
    """Open the executor for an address: `none` is this process, `local` starts Ray here.

    Raises:
        SpecError: no cluster can be joined at the address, or it rejects the local auth token.
    """
    # Torch and Ray take seconds to import; commands that need neither should not wait for them.
    if address == "none":
        from .inprocess import InProcessExecutor

        return InProcessExecutor(store, resources)
    if address != "local" and "ray" not in sys.modules:
        from ..cluster.head_probe import prepare_to_join

        prepare_to_join(address)
    from .ray_executor import RayExecutor

    return RayExecutor(store, resources, address, log_file)
